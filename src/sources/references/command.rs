//! A command that says what is in use.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::{LARGEST, SourceError};
use crate::config::values::Period;

/// So much is read of what it complains about.
const COMPLAINT: u64 = 4096;

/// Runs a command without a shell and gives what it prints. It has our environment, nothing on its standard input, and a
/// process group of its own, which ends with it.
pub(super) async fn run(words: &[String], directory: &Path, timeout: Period) -> Result<Vec<u8>, SourceError> {
    let [program, arguments @ ..] = words else { return Err(SourceError::Empty) };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).kill_on_drop(true);
    if !directory.as_os_str().is_empty() {
        command.current_dir(directory);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(SourceError::NotStarted)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    let answer = tokio::time::timeout(timeout.as_duration(), listen(&mut child)).await;
    if !matches!(answer, Ok(Ok(_)))
        && let Some(group) = group
    {
        // What it started and left behind goes too; that it has ended meanwhile is no matter.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    answer.unwrap_or_else(|_| Err(SourceError::TimedOut(timeout.to_string())))
}

async fn listen(child: &mut Child) -> Result<Vec<u8>, SourceError> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let complaint = async {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = (&mut stderr).take(COMPLAINT).read_to_end(&mut said).await;
            // The rest is read and forgotten: a full pipe would hold the command up.
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        }
        said
    };
    let (printed, said) = tokio::join!(printed(stdout), complaint);
    let printed = printed?;
    let status = child.wait().await.map_err(SourceError::Unreadable)?;
    if status.success() {
        return Ok(printed);
    }
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let last = last.map(|line| format!(": {}", line.replace(char::is_control, " "))).unwrap_or_default();
    Err(SourceError::Failed { status: status.to_string(), said: last })
}

async fn printed(stdout: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, SourceError> {
    let mut text = Vec::new();
    let Some(stdout) = stdout else { return Ok(text) };
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1);
    stdout.take(most).read_to_end(&mut text).await.map_err(SourceError::Unreadable)?;
    if text.len() > LARGEST { Err(SourceError::TooLarge) } else { Ok(text) }
}
