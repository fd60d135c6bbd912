//! A Redis of the test's own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::buckets::process::Process;
use crate::registry::server::{REDIS_PASSWORD, free_port};

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

    /// The URL of the database that registries of the tests use.
    pub fn url(&self) -> String {
        format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{}/1", self.port)
    }

    /// Removes everything in it.
    pub fn forget(&self) {
        assert!(answers(self.port, "FLUSHALL", "+OK"), "Redis does not forget");
    }

    fn try_start() -> Option<Self> {
        let port = free_port();
        let directory: PathBuf = tempfile::tempdir().expect("a directory").keep();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--requirepass",
            REDIS_PASSWORD,
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
        stream.write_all(format!("AUTH {REDIS_PASSWORD}\r\n{command}\r\n").as_bytes())?;
        let mut answer = vec![0; "+OK\r\n".len() + expected.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.ends_with(expected.as_bytes()))
}
