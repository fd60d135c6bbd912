//! Pages of a listing as S3 writes them.

use s3s::dto::{CommonPrefix, Object};
use s3s::{S3Result, s3_error};

use super::hex;
use super::objects::Page;
use super::operations::{quoted, size};

/// How a token of a listing begins, which in the first version of listings stands where a key may stand.
pub const TOKEN: &str = "token:";

fn token_of(place: &str) -> String {
    format!("{TOKEN}{}", hex(place.as_bytes()))
}

/// Where a listing goes on.
pub fn place_of(token: &str) -> S3Result<String> {
    let digits = token.strip_prefix(TOKEN).ok_or_else(|| s3_error!(InvalidArgument, "not a token"))?;
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| s3_error!(InvalidArgument, "not a token"))
}

/// Objects, common prefixes and the token of what follows.
pub type Listed = (Option<Vec<Object>>, Option<Vec<CommonPrefix>>, Option<String>);

/// A page as S3 writes it.
pub fn listed(page: Page) -> Listed {
    let objects = page.objects.into_iter().map(|(key, stored)| Object {
        key: Some(key),
        size: size(&stored.bytes),
        last_modified: Some(stored.modified.into()),
        e_tag: quoted(&stored.etag),
        ..Object::default()
    });
    let prefixes = page.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) });
    (Some(objects.collect()), Some(prefixes.collect()), page.token.as_deref().map(token_of))
}
