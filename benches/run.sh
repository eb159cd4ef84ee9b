#!/bin/sh
# Measures the release build against the limits of benches/limits.rs; prints one Markdown table.
set -eu
cd "$(dirname "$0")/.."
exec "${CARGO:-cargo}" bench --locked --bench limits
