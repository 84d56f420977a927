//! The binary: parse, run, print the error chain, exit. Everything else lives in the crates beside this file.
fn main() {}
