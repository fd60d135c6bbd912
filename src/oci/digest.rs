//! Content digests, `algorithm:hex`, as the OCI image specification writes them.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// The digest of some content: `sha256:` and 64, or `sha512:` and 128 lower-case hexadecimal digits.
///
/// `to_string()` is what distribution writes into a link file: 71 bytes for sha256, 135 for sha512, no newline.
/// Ordering is by algorithm, then by content, and so the same as that of the written form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Digest {
    /// SHA-256, the algorithm of every blob that distribution has stored since 2.1.
    Sha256([u8; 32]),
    /// SHA-512, an alias: distribution stores the blob by its sha256 and links this to it.
    Sha512([u8; 64]),
}

/// Why a text is not a digest. Small and without the text itself, so that refusing a name costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `:` between algorithm and hexadecimal digits.
    #[error("a digest is written algorithm:hex, such as sha256:0123…; this has no `:`")]
    NoSeparator,
    /// Neither sha256 nor sha512.
    #[error("the digest's algorithm is not known; known are sha256 and sha512")]
    UnknownAlgorithm,
    /// Too few or too many digits for the algorithm.
    #[error("a {algorithm} digest has {expected} hexadecimal digits; this has {found}")]
    Length {
        /// The algorithm.
        algorithm: &'static str,
        /// Digits that it takes.
        expected: usize,
        /// Bytes found after the `:`.
        found: usize,
    },
    /// A digit `A` to `F`: the specification allows lower case only.
    #[error("a digest is written in lower case; the digit at position {position} is upper-case")]
    UpperCase {
        /// Counted in bytes from 0 behind the `:`.
        position: usize,
    },
    /// Something that is no hexadecimal digit.
    #[error("the character at position {position} of the digest is no hexadecimal digit")]
    NotHexadecimal {
        /// Counted in bytes from 0 behind the `:`.
        position: usize,
    },
}

const SHA256: &str = "sha256";
const SHA512: &str = "sha512";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Marks a byte that is no lower-case hexadecimal digit. Its high bits survive the `|` of many nibbles.
const NO_NIBBLE: u8 = 0xf0;

const NIBBLES: [u8; 256] = {
    let mut table = [NO_NIBBLE; 256];
    let mut value = 0;
    while value < 16 {
        table[HEX[value as usize] as usize] = value;
        value += 1;
    }
    table
};

impl Digest {
    /// The sha256 digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(content).into())
    }

    /// Whether this is the digest of `content`, by this digest's own algorithm.
    pub fn matches(&self, content: &[u8]) -> bool {
        match self {
            Self::Sha256(bytes) => *bytes == <[u8; 32]>::from(Sha256::digest(content)),
            Self::Sha512(bytes) => *bytes == <[u8; 64]>::from(Sha512::digest(content)),
        }
    }

    /// A digest from the two components that a path is made of, such as `sha256` and 64 digits. Allocates nothing.
    pub fn from_parts(algorithm: &str, hex: &str) -> Result<Self, DigestError> {
        match algorithm {
            SHA256 => decode(SHA256, hex).map(Self::Sha256),
            SHA512 => decode(SHA512, hex).map(Self::Sha512),
            _ => Err(DigestError::UnknownAlgorithm),
        }
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => SHA256,
            Self::Sha512(_) => SHA512,
        }
    }

    /// The content's hash: 32 or 64 bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    /// The hexadecimal digits alone: 64 or 128 of them.
    pub fn hex(&self) -> String {
        let mut hex = String::with_capacity(2 * self.bytes().len());
        self.push_hex(&mut hex);
        hex
    }

    /// Appends the hexadecimal digits to `text`.
    pub fn push_hex(&self, text: &mut String) {
        for byte in self.bytes() {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 0x0f)]));
        }
    }

    fn written(&self) -> String {
        let mut text = String::with_capacity(SHA512.len() + 1 + 128);
        text.push_str(self.algorithm());
        text.push(':');
        self.push_hex(&mut text);
        text
    }
}

fn decode<const N: usize>(algorithm: &'static str, hex: &str) -> Result<[u8; N], DigestError> {
    let hex = hex.as_bytes();
    if hex.len() != 2 * N {
        return Err(DigestError::Length { algorithm, expected: 2 * N, found: hex.len() });
    }
    let mut bytes = [0; N];
    // One test at the end instead of one per digit: the marker's high bits are never set by a digit.
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = (high << 4) | (low & 0x0f);
    }
    if seen & NO_NIBBLE == 0 { Ok(bytes) } else { Err(first_fault(hex)) }
}

#[cold]
fn first_fault(hex: &[u8]) -> DigestError {
    let position = hex.iter().position(|byte| NIBBLES[usize::from(*byte)] == NO_NIBBLE).unwrap_or_default();
    if hex[position].is_ascii_hexdigit() {
        DigestError::UpperCase { position }
    } else {
        DigestError::NotHexadecimal { position }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::NoSeparator)?;
        Self::from_parts(algorithm, hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.written())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(&self.written());
        }
        // The length tells the algorithm.
        serializer.serialize_bytes(match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        })
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(DigestVisitor)
        } else {
            deserializer.deserialize_bytes(DigestVisitor)
        }
    }
}

struct DigestVisitor;

impl Visitor<'_> for DigestVisitor {
    type Value = Digest;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a digest such as sha256:0123…")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
        text.parse().map_err(|error: DigestError| E::custom(format_args!("{error}: {text}")))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Digest, E> {
        let sha256 = bytes.try_into().map(Digest::Sha256);
        let digest = sha256.or_else(|_| bytes.try_into().map(Digest::Sha512));
        digest.map_err(|_| E::invalid_length(bytes.len(), &"32 or 64 bytes of a digest"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(digest.to_string().len(), 71);
        assert_eq!(format!("{digest:?}"), EMPTY);
        assert_eq!(digest.hex(), &EMPTY[7..]);
        assert!(digest.matches(b"") && !digest.matches(b"x"));
    }

    #[test]
    fn sha512_is_known() {
        let digest = Digest::Sha512(Sha512::digest(b"abc").into());
        assert_eq!(digest.to_string().len(), 135);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.matches(b"abc") && !digest.matches(b"abd"));
    }

    #[test]
    fn what_is_refused_says_why() {
        let refused = |text: &str| text.parse::<Digest>().unwrap_err();
        assert_eq!(refused(""), DigestError::NoSeparator);
        assert_eq!(refused(&EMPTY[7..]), DigestError::NoSeparator);
        assert_eq!(refused(&EMPTY.replace("sha256", "sha384")), DigestError::UnknownAlgorithm);
        assert_eq!(refused(&EMPTY.replace("sha256", "SHA256")), DigestError::UnknownAlgorithm);
        assert_eq!(refused(&EMPTY.replace("e3b0", "E3b0")), DigestError::UpperCase { position: 0 });
        assert_eq!(refused(&EMPTY.replace("b855", "b85F")), DigestError::UpperCase { position: 63 });
        assert_eq!(refused(&EMPTY.replace("b855", "b85g")), DigestError::NotHexadecimal { position: 63 });
        assert_eq!(refused(&EMPTY.replace("b855", "b8é")), DigestError::NotHexadecimal { position: 62 });
        let length = |found| DigestError::Length { algorithm: "sha256", expected: 64, found };
        assert_eq!(refused(&EMPTY[..70]), length(63));
        assert_eq!(refused(&format!("{EMPTY}\n")), length(65));
        assert_eq!(refused("sha256:"), length(0));
    }

    #[test]
    fn serde_writes_and_reads_the_text() {
        let digest = Digest::of(b"");
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{EMPTY}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(short: [u8; 32], long: Vec<u8>) {
            let long = Digest::Sha512(Sha512::digest(&long).into());
            for digest in [Digest::Sha256(short), long] {
                prop_assert_eq!(digest.to_string().parse(), Ok(digest));
                prop_assert_eq!(Digest::from_parts(digest.algorithm(), &digest.hex()), Ok(digest));
            }
        }

        #[test]
        fn orders_as_the_text_does(left: [u8; 32], right: [u8; 32]) {
            let (left, right) = (Digest::Sha256(left), Digest::Sha256(right));
            prop_assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()));
        }

        #[test]
        fn accepts_only_what_it_would_write(text in "(sha256|sha512|md5)?:?[0-9a-fA-F]{60,66}|.*") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
