//! Whether a place holds Nexus blob stores, and of a kind that is known.

use super::super::listing::level;
use super::super::scan::{ScanError, join};
use crate::layout::nexus::{CONTENT, METADATA};
use crate::layout::properties::Properties;
use crate::store::{Kind, ReadStore, StoreError, Tree};

/// Kinds of blob stores, as their metadata name them.
const KINDS: [&str; 5] = ["file/1", "s3/1", "gcs/1", "google/1", "azure/1"];

/// Finds the blob stores at the root or directly below it; `false` when there is none.
///
/// # Errors
/// When one is of a kind that is not known, or does not say; and when the place cannot be read.
pub fn detect(store: &ReadStore) -> Result<bool, ScanError> {
    let tree = store.tree();
    let mut found = false;
    if has(tree, CONTENT)? {
        check(tree, "")?;
        found = true;
    }
    for child in children(tree)? {
        if child != CONTENT && !child.starts_with('.') && has(tree, &join(&child, CONTENT))? {
            check(tree, &child)?;
            found = true;
        }
    }
    Ok(found)
}

/// Directories directly below the root.
fn children(tree: &Tree) -> Result<Vec<String>, StoreError> {
    match tree {
        Tree::Directory(directory) => {
            let names = directory.list("")?.map(|list| list.names).unwrap_or_default();
            let directories = names.into_iter().filter(|(_, kind)| *kind == Kind::Directory);
            let mut found: Vec<String> = directories.map(|(name, _)| name.into()).collect();
            found.sort();
            Ok(found)
        }
        Tree::Bucket(bucket) => {
            let level = level(bucket, "")?;
            Ok(level.prefixes.iter().map(|prefix| prefix.trim_end_matches('/').to_owned()).collect())
        }
    }
}

fn has(tree: &Tree, key: &str) -> Result<bool, StoreError> {
    match tree {
        Tree::Directory(directory) => {
            Ok(directory.stat(key)?.is_some_and(|meta| meta.kind == Kind::Directory))
        }
        Tree::Bucket(bucket) => {
            let level = level(bucket, key)?;
            Ok(!level.objects.is_empty() || !level.prefixes.is_empty())
        }
    }
}

/// Validation: a store of a kind that is not known may keep its blobs in another way.
fn check(tree: &Tree, store: &str) -> Result<(), ScanError> {
    let key = join(store, METADATA);
    let refused = |why: String| {
        ScanError::NoRegistry(format!(
            "{key} {why}. A blob store of Nexus Repository 3 says {} in it: name the directory or prefix of a blob store, or \
             one that holds nothing but blob stores",
            KINDS.join(", ")
        ))
    };
    let Some((body, _)) = tree.read(&key, 1 << 20)? else {
        return Err(refused("is missing, although there is content beside it".into()));
    };
    let metadata =
        Properties::read(&body).map_err(|error| refused(format!("is no properties file: {error}")))?;
    match metadata.get("type") {
        Some(kind) if KINDS.contains(&kind) => Ok(()),
        Some(kind) => Err(refused(format!("says that the store is of type {kind:?}, which is not known"))),
        None => Err(refused("does not say of which type the store is".into())),
    }
}
