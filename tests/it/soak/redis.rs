//! A Redis of the test's own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::buckets::process::Process;

/// A running Redis on a free loopback port, with nothing on disk.
pub struct Redis {
    _process: Process,
    pub port: u16,
}

impl Redis {
    pub fn start() -> Self {
        for _ in 0..5 {
            if let Some(redis) = Self::try_start() {
                return redis;
            }
        }
        panic!(
            "no Redis started in five attempts, each on another port: tests/install installs redis-server"
        );
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Removes everything in it.
    pub fn forget(&self) {
        assert!(answers(self.port, "FLUSHALL", "+OK"), "Redis does not forget");
    }

    fn try_start() -> Option<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let directory: PathBuf = tempfile::tempdir().expect("a directory").keep();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.arg("--dir").arg(&directory);
        let process = Process::start(&command, directory, &[]);
        for _ in 0..200 {
            if !process.runs() {
                return None;
            }
            if answers(port, "PING", "+PONG") {
                return Some(Self { _process: process, port });
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("Redis did not answer in 10 s:\n{}", process.log());
    }
}

fn answers(port: u16, command: &str, expected: &str) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer == expected.as_bytes())
}
