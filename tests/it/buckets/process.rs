//! A server's process. It lives as long as this process and no longer, whatever ends this one.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Starts a server and ends it when standard input does: when the test process is gone, even by a signal. Statics are
/// not dropped, so nothing else would. An interrupt from the terminal reaches the shell too, which must outlive it.
const KEEPER: &str = r#"
trap '' INT TERM HUP
directory=$1 && shift
"$@" >"$directory/log" 2>&1 </dev/null &
server=$!
echo "$server"
exec >&-
cat >/dev/null
kill -9 "$server"
wait
xargs rm -f <"$directory/leftovers"
rm -rf "$directory"
"#;

/// A running server.
#[derive(Debug)]
pub struct Process {
    /// The shell that ends it. What keeps it is the open pipe in here.
    keeper: Child,
    server: u32,
    directory: PathBuf,
}

impl Process {
    /// Starts `command` with what it writes in a log in `directory`, which goes away with it, as do these files that it
    /// makes elsewhere.
    pub fn start(command: &Command, directory: PathBuf, leftovers: &[String]) -> Self {
        fs::write(directory.join("leftovers"), leftovers.join("\n")).expect("a list of files");
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper"]).arg(&directory).arg(command.get_program());
        shell.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = shell.spawn().expect("a shell");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("the server's process id");
        Self { keeper, server: line.trim().parse().expect("a process id"), directory }
    }

    /// Whether it runs. Ended, it stays as a zombie until its keeper looks for it.
    pub fn runs(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.server)).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The end of what it has written.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
