//! `postern`, without the pages.

use std::process::ExitCode;

fn main() -> ExitCode {
    postern::program::main()
}
