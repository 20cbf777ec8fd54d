//! The host of an attempt alone, for this crate's tests: what `hub agent-host` is.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != hub_worker::host::COMMAND) {
        return ExitCode::from(2);
    }
    hub_worker::host::main(arguments)
}
