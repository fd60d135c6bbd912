//! One row of evidence, from whichever source.

use serde_json::Value;

use crate::layout::nexus::{BlobRef, Uuid};
use crate::oci::Digest;

/// What one row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    /// An asset, or a blob that belongs to none yet or any more.
    Asset {
        blob: Option<Uuid>,
        repository: Option<String>,
        path: Option<String>,
        digest: Option<Digest>,
        proxy: bool,
    },
    /// An entry of the index of deleted blobs; nothing for an index without entries.
    Deleted(Option<Uuid>),
}

/// What names of columns and members say the same.
const REPOSITORY: [&str; 3] = ["repo", "repository", "repository_name"];
const BLOB: [&str; 2] = ["blob_ref", "blobRef"];
const DIGEST: [&str; 2] = ["sha256", "digest"];
const CHECKSUMS: [&str; 2] = ["checksums", "checksum"];

/// Whether a table with these columns is the index of deleted blobs.
pub(super) fn is_index(columns: &[&str]) -> bool {
    columns.contains(&"blob_id")
}

/// Whether a table with these columns says which blobs are known.
pub(super) fn is_assets(columns: &[&str]) -> bool {
    let has = |names: &[&str]| names.iter().any(|name| columns.contains(name));
    has(&BLOB) || (has(&REPOSITORY) && columns.contains(&"path"))
}

/// Reads a row by the names of its columns; a member that is absent or empty says nothing.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read<'v>(get: impl Fn(&str) -> Option<&'v str>) -> Result<Row, String> {
    let of = |names: &[&str]| names.iter().find_map(|name| get(name)).filter(|value| !value.is_empty());
    if let Some(id) = get("blob_id") {
        let id = Uuid::parse(id).ok_or_else(|| format!("{id:?} is no blob's UUID"))?;
        return Ok(Row::Deleted(Some(id)));
    }
    let blob = match of(&BLOB) {
        Some(text) => Some(
            BlobRef::parse(text)
                .ok_or_else(|| format!("{text:?} is no blob reference such as store@uuid"))?
                .id,
        ),
        None => None,
    };
    let mut digest = of(&DIGEST).map(str::to_owned);
    if let Some(text) = of(&CHECKSUMS) {
        let checksums: Value =
            serde_json::from_str(text).map_err(|_| format!("the checksums {text:?} are not JSON"))?;
        digest = digest.or_else(|| checksums.get("sha256").and_then(Value::as_str).map(ToOwned::to_owned));
    }
    let digest = match digest {
        Some(text) => Some(sha256(&text)?),
        None => None,
    };
    let text = |value: Option<&str>| value.map(str::to_owned);
    let (repository, path) = (text(of(&REPOSITORY)), text(of(&["path"])));
    // Validation: what names nothing that can be looked for would keep nothing.
    if blob.is_none() && digest.is_none() && (repository.is_none() || path.is_none()) {
        return Err("it has neither a blob_ref nor a sha256 nor a repository and path".into());
    }
    let proxy = of(&["recipe", "recipe_name", "type"]).is_some_and(|kind| kind.ends_with("proxy"));
    Ok(Row::Asset { blob, repository, path, digest, proxy })
}

/// Reads a SHA-256, with its algorithm before it or not.
///
/// # Errors
/// When it is none.
pub(super) fn sha256(text: &str) -> Result<Digest, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    Digest::from_parts("sha256", hex).map_err(|_| format!("{text:?} is no sha256"))
}

/// Reads a row from a JSON object.
///
/// # Errors
/// What is wrong with it.
pub(super) fn of_json(value: &Value) -> Result<Row, String> {
    let object = value.as_object().ok_or("it is not an object")?;
    let columns: Vec<&str> = object.keys().map(String::as_str).collect();
    if !is_index(&columns) && !is_assets(&columns) {
        return Err("it has neither blob_ref, nor repository and path, nor blob_id".into());
    }
    // Objects are read as the text that a column of an export would have.
    let nested: Vec<(&str, String)> = object
        .iter()
        .filter(|(_, value)| value.is_object())
        .map(|(k, v)| (k.as_str(), v.to_string()))
        .collect();
    read(|name| {
        let nested = nested.iter().find(|(key, _)| *key == name).map(|(_, text)| text.as_str());
        object.get(name).and_then(Value::as_str).or(nested)
    })
}
