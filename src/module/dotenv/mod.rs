pub mod edit;
pub mod interpolate;
pub mod read;
#[cfg(test)]
mod tests;
