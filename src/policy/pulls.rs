//! Whose pulls say nothing about who needs an image: scanners, mirrors, probes.

use core::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use regex::Regex;

use crate::config::values::Period;

/// The longest hole in what is known of pulls, unless a policy says otherwise: beyond it anything may have been pulled.
pub const DEFAULT_MAX_GAP: Period = Period::from_days(1);

/// Who pulled, as far as the registry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Puller<'p> {
    /// What the client calls itself.
    pub user_agent: Option<&'p str>,
    /// Who it logged in as.
    pub user: Option<&'p str>,
    /// Where it is.
    pub address: Option<IpAddr>,
}

/// When something was pulled, as far as anybody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pulled {
    /// The last pull that is known.
    pub last: Option<Timestamp>,
    /// Until when nobody looked for pulls: it may have been pulled as late as that.
    pub unrecorded: Option<Timestamp>,
}

impl Pulled {
    /// The last moment at which something that was pushed then may have been pulled, or was pushed; and whether it may as
    /// well have been any earlier one, because nobody looked. A pull is never a reason to go sooner: what was pushed anew
    /// after its last pull counts from the push.
    pub(super) fn latest(self, pushed: Timestamp) -> (Timestamp, bool) {
        let known = self.last.map_or(pushed, |last| last.max(pushed));
        match self.unrecorded {
            Some(until) if until >= known => (until, true),
            _ => (known, false),
        }
    }
}

/// Pulls that do not count. What is not known of a puller never makes its pull one of them.
#[derive(Debug, Clone, Default)]
pub struct IgnoredPulls {
    user_agents: Vec<Wildcard>,
    users: Vec<Wildcard>,
    addresses: Vec<IpNet>,
}

/// What a policy says of pulls.
#[derive(Debug, Clone)]
pub struct PullRules {
    /// Whose do not count.
    pub ignored: IgnoredPulls,
    /// The longest time of which nothing is known of pulls that is taken for one without any.
    pub max_gap: Period,
}

impl Default for PullRules {
    fn default() -> Self {
        Self { ignored: IgnoredPulls::default(), max_gap: DEFAULT_MAX_GAP }
    }
}

/// Why an entry of an ignore list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// Nothing is written.
    #[error("an empty entry ignores nothing: remove it")]
    Empty,
    /// It would ignore all pulls, and then nothing would ever count as pulled.
    #[error("`{0}` ignores everybody, so nothing would ever count as pulled: name who does not count")]
    Everybody(String),
    /// It is neither an address nor a range of addresses.
    #[error("`{0}` is neither an address nor a range such as 10.0.0.0/8 or fd00::/8")]
    Address(String),
    /// It is too long.
    #[error("an entry of {0} bytes is too long; at most 1000 are read")]
    TooLong(usize),
}

impl IgnoredPulls {
    /// Ignores clients that call themselves so. `*` stands for any characters, everything else for itself.
    ///
    /// # Errors
    /// When it is empty, or ignores everybody.
    pub fn add_user_agent(&mut self, pattern: &str) -> Result<(), IgnoreError> {
        self.user_agents.push(Wildcard::new(pattern)?);
        Ok(())
    }

    /// Ignores those who logged in as this; `*` as for clients.
    ///
    /// # Errors
    /// When it is empty, or ignores everybody.
    pub fn add_user(&mut self, pattern: &str) -> Result<(), IgnoreError> {
        self.users.push(Wildcard::new(pattern)?);
        Ok(())
    }

    /// Ignores an address, or a range of addresses in CIDR notation.
    ///
    /// # Errors
    /// When it is neither, or ignores everybody.
    pub fn add_address(&mut self, text: &str) -> Result<(), IgnoreError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(IgnoreError::Empty);
        }
        let range = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let range = range.map_err(|_| IgnoreError::Address(text.to_owned()))?;
        if range.prefix_len() == 0 {
            return Err(IgnoreError::Everybody(text.to_owned()));
        }
        self.addresses.push(range);
        Ok(())
    }

    /// Adds all that another list ignores.
    pub fn extend(&mut self, other: &Self) {
        self.user_agents.extend_from_slice(&other.user_agents);
        self.users.extend_from_slice(&other.users);
        self.addresses.extend_from_slice(&other.addresses);
    }

    /// Whether a pull by them does not count.
    pub fn covers(&self, puller: &Puller<'_>) -> bool {
        let any = |list: &[Wildcard], text: Option<&str>| {
            text.is_some_and(|text| list.iter().any(|one| one.0.is_match(text)))
        };
        // A connection over IPv6 to an IPv4 address is told as ::ffff:10.0.0.1.
        let address = puller.address.map(|address| address.to_canonical());
        any(&self.user_agents, puller.user_agent)
            || any(&self.users, puller.user)
            || address.is_some_and(|address| self.addresses.iter().any(|range| range.contains(&address)))
    }
}

/// A text in which `*` stands for any characters; it covers a whole text.
#[derive(Debug, Clone)]
struct Wildcard(Regex);

impl Wildcard {
    fn new(pattern: &str) -> Result<Self, IgnoreError> {
        if pattern.is_empty() {
            return Err(IgnoreError::Empty);
        }
        if pattern.bytes().all(|byte| byte == b'*') {
            return Err(IgnoreError::Everybody(pattern.to_owned()));
        }
        if pattern.len() > 1000 {
            return Err(IgnoreError::TooLong(pattern.len()));
        }
        let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
        let regex = Regex::new(&format!(r"\A(?s:{})\z", parts.join(".*")));
        regex.map(Self).map_err(|_| IgnoreError::TooLong(pattern.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored() -> IgnoredPulls {
        let mut ignored = IgnoredPulls::default();
        ignored.add_user_agent("Trivy/*").unwrap();
        ignored.add_user_agent("*[bot]+(x)*").unwrap();
        ignored.add_user("mirror").unwrap();
        ignored.add_address("10.0.0.0/8").unwrap();
        ignored.add_address("192.0.2.7").unwrap();
        ignored.add_address("fd00::/8").unwrap();
        ignored
    }

    #[test]
    fn each_list_ignores_what_it_names_and_nothing_else() {
        let ignored = ignored();
        let agent = |text| Puller { user_agent: Some(text), ..Puller::default() };
        let user = |text| Puller { user: Some(text), ..Puller::default() };
        let at = |text: &str| Puller { address: Some(text.parse().unwrap()), ..Puller::default() };
        for (puller, expected) in [
            (agent("Trivy/0.5 scan"), true),
            (agent("Trivy"), false),
            (agent("not Trivy/0.5"), false),
            (agent("a [bot]+(x)\nof mine"), true),
            (agent("b"), false),
            (user("mirror"), true),
            (user("mirror2"), false),
            (user("Trivy/1"), false),
            (at("10.200.3.4"), true),
            (at("11.0.0.1"), false),
            (at("192.0.2.7"), true),
            (at("192.0.2.8"), false),
            (at("::ffff:10.1.1.1"), true),
            (at("fd12::1"), true),
            (Puller::default(), false),
        ] {
            assert_eq!(ignored.covers(&puller), expected, "{puller:?}");
        }
    }

    #[test]
    fn nobody_ignores_everybody() {
        let mut ignored = IgnoredPulls::default();
        for refused in [
            ignored.add_user_agent("*"),
            ignored.add_user("**"),
            ignored.add_address("0.0.0.0/0"),
            ignored.add_address("::/0"),
        ] {
            assert!(matches!(refused, Err(IgnoreError::Everybody(_))), "{refused:?}");
        }
        assert_eq!(ignored.add_user(""), Err(IgnoreError::Empty));
        assert_eq!(ignored.add_address(" "), Err(IgnoreError::Empty));
        assert!(matches!(ignored.add_address("10.0.0.0/33"), Err(IgnoreError::Address(_))));
        assert!(matches!(ignored.add_address("example.org"), Err(IgnoreError::Address(_))));
        assert!(matches!(ignored.add_user_agent(&"x".repeat(1001)), Err(IgnoreError::TooLong(1001))));
        assert!(!ignored.covers(&Puller { user_agent: Some(""), ..Puller::default() }));
    }
}
