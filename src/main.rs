//! The binary: run the command line, print what went wrong with its causes, end with its exit code. Everything else lives in the
//! crates beside this file.

use std::io::Write;
use std::process::ExitCode;

use clos_telemetry::Chain;

/// Gives memory back after a burst, which the system's own keeps in pieces. How it is tuned stands in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _armed = clos_failpoints::arm();
    match clos_cli::run() {
        Ok(ending) => ending.into(),
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "clos: {}", Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
