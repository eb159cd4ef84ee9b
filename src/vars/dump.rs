//! What `ansible-inventory` shows.
