//! What the benches have in common: what they were asked for, and how much memory a process had.
#![allow(dead_code, reason = "each bench uses what it needs")]

/// What follows `--name` on the command line.
pub fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| *argument != format!("--{name}"));
    arguments.nth(1)
}

/// The number that follows `--name` on the command line.
pub fn number<N: std::str::FromStr>(name: &str, default: N) -> N {
    argument(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("--{name} {text}: write a whole number"))
    })
}

/// The most memory that a process has had, in bytes; `None` once it has ended. `process` is its number, or `self`.
pub fn peak_bytes(process: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
