//! The `untar-in-root` program.
fn main() {}
