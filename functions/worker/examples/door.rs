//! Somebody at the door of an attempt, for this crate's tests. `door TEXT` says it, as `hub say` does; `door` alone passes on lines, both
//! ways, until the door closes.

use std::{
    io::{BufRead, BufReader, Write, stdin, stdout},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::ExitCode,
    thread,
};

use hub_worker::door::{Request, SOCKET, Say, call};

fn main() -> ExitCode {
    let Some(socket) = std::env::var_os(SOCKET).map(PathBuf::from) else { return ExitCode::from(2) };
    if let Some(text) = std::env::args().nth(1) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let said =
            runtime.map(|runtime| runtime.block_on(call::<serde_json::Value>(&socket, &Request::Say(Say { text }))));
        return match said {
            Ok(Ok(_)) => {
                println!("said");
                ExitCode::SUCCESS
            }
            Ok(Err(trouble)) => {
                println!("{trouble}");
                ExitCode::FAILURE
            }
            Err(error) => {
                println!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) => {
            println!("no door: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Ok(mut write) = stream.try_clone() {
        thread::spawn(move || {
            for line in stdin().lock().lines().map_while(Result::ok) {
                if writeln!(write, "{line}").is_err() {
                    return;
                }
            }
            write.shutdown(Shutdown::Write).ok();
        });
    }
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        println!("{line}");
        stdout().flush().ok();
    }
    ExitCode::SUCCESS
}
