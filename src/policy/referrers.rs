//! Tags that name the manifest they refer to, instead of a version.
//!
//! Two conventions use a digest as a tag, with `-` in the place of `:`. The referrers tag schema of the OCI
//! distribution specification 1.1 (written by ORAS and other clients where the registry has no referrers API) is
//! the bare `sha256-<hex>`, an index of everything that refers to that digest; it limits the hexadecimal part to 64
//! digits, so that a tag stays within 128 characters. cosign 1.x and 2.x append `.sig`, `.att` or `.sbom`.

/// The digest algorithms of the OCI image specification and how many hexadecimal digits of each a tag may hold.
///
/// A whole sha512 is too long for a tag; a registry that does not check the length may hold one all the same.
const ALGORITHMS: [(&str, usize); 3] = [("sha256", 64), ("sha512", 64), ("sha512", 128)];

/// What cosign appends to the tag of a signature, an attestation or a bill of materials.
const SUFFIXES: [&str; 4] = ["", ".sig", ".att", ".sbom"];

/// The digest that a referrer's tag names, as its algorithm and its lowercase hexadecimal digits; `None` for every
/// other tag.
///
/// For sha512 the digits are usually the first 64 of 128: compare them as a prefix of the subject's digest.
///
/// ```
/// use regsweep::policy::referrers::referrer_subject;
/// let hex = "5f".repeat(32);
/// assert_eq!(referrer_subject(&format!("sha256-{hex}.sig")), Some(("sha256", &*hex)));
/// assert_eq!(referrer_subject("sha256-5f5f"), None);
/// ```
pub fn referrer_subject(tag: &str) -> Option<(&'static str, &str)> {
    ALGORITHMS.into_iter().find_map(|(algorithm, digits)| {
        let rest = tag.strip_prefix(algorithm)?.strip_prefix('-')?;
        let (hex, suffix) = rest.split_at_checked(digits)?;
        let lowercase_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (lowercase_hex && SUFFIXES.contains(&suffix)).then_some((algorithm, hex))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_both_algorithms_is_read() {
        for (algorithm, digits) in ALGORITHMS {
            let hex = "0a".repeat(digits / 2);
            for suffix in SUFFIXES {
                let tag = format!("{algorithm}-{hex}{suffix}");
                assert_eq!(referrer_subject(&tag), Some((algorithm, &*hex)), "{tag}");
            }
        }
    }

    #[test]
    fn near_misses_are_ordinary_tags() {
        let hex = "0a".repeat(32);
        for tag in [
            format!("sha256-{}", &hex[1..]),
            format!("sha256-{hex}0"),
            format!("sha256-{hex}.signature"),
            format!("sha256-{}", hex.to_uppercase()),
            format!("sha256:{hex}"),
            format!("sha512-{}", &hex[1..]),
            format!("v-sha256-{hex}"),
            format!("sha256-{}é", &hex[2..]),
            "latest".to_owned(),
            String::new(),
        ] {
            assert_eq!(referrer_subject(&tag), None, "{tag}");
        }
    }
}
