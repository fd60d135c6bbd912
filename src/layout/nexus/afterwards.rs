//! What whoever runs a Nexus does after blobs were flagged in files, and before what was flagged comes back for good.
//!
//! Nexus compacts by an index and not by the files: an index file in the store (3.0 to 3.70, file stores), tags of objects
//! (S3 up to 3.79), or the table `soft_deleted_blobs`. A file store reads all of its records instead when
//! `metadata.properties` says `rebuildDeletedBlobIndex=true` (up to 3.93).

use super::{METADATA, Nexus, Part, Place};
use crate::layout::{Afterwards, Entry, Flags, RegistryLayout};

/// The columns of the table of deleted blobs that have no default.
const TABLE: &str = "soft_deleted_blobs";

fn assets(keys: &[String]) -> impl Iterator<Item = super::AssetKey<'_>> {
    keys.iter().filter_map(|key| match Nexus.classify(key) {
        Entry::Asset(asset) if asset.part == Part::Record => Some(asset),
        _ => None,
    })
}

/// What follows on flags: `root` is the last part of the store's own name.
pub(super) fn afterwards(flags: Flags, keys: &[String], root: &str) -> Afterwards {
    if keys.is_empty() {
        return Afterwards::default();
    }
    let text = |text: &str| text.replace('\'', "''");
    let store = |asset: &super::AssetKey<'_>| text(if asset.store.is_empty() { root } else { asset.store });
    let (advice, statements): (Vec<String>, Vec<String>) = match flags {
        Flags::Set => {
            let metadata: std::collections::BTreeSet<String> = assets(keys)
                .map(|asset| match asset.store {
                    "" => METADATA.to_owned(),
                    store => format!("{store}/{METADATA}"),
                })
                .collect();
            let metadata: Vec<String> = metadata.into_iter().collect();
            let row = |asset: super::AssetKey<'_>| {
                let minute = match asset.place {
                    Place::VolumeChapter => "NULL".to_owned(),
                    Place::Dated(minute) => format!("'{minute}:00Z'"),
                };
                format!(
                    "INSERT INTO {TABLE} (blob_id, source_blob_store_name, date_path_ref) VALUES ('{}', '{}', {minute});",
                    asset.id,
                    store(&asset)
                )
            };
            let advice = vec![
                "start Nexus again, or release the freeze and restart it: it may hold what is flagged in its memory".into(),
                format!(
                    "let it free the space: in a file store of up to 3.93 add the line rebuildDeletedBlobIndex=true to {} and \
                     run \"Admin - Compact blob store\", which then deletes every blob that is flagged, by whomever; or with a \
                     SQL database run the statements (the name of a blob store is taken from its directory), then the task. In a \
                     bucket of up to 3.79 set the tag deleted=true on both objects of each blob instead",
                    metadata.join(", ")
                ),
                repair(),
                recalculate(),
            ];
            (advice, assets(keys).map(row).collect())
        }
        Flags::SetAndMoved => (vec!["start Nexus again".into(), repair(), recalculate()], Vec::new()),
        Flags::Lifted => {
            let row =
                |asset: super::AssetKey<'_>| format!("DELETE FROM {TABLE} WHERE blob_id = '{}';", asset.id);
            let advice = vec![
                format!(
                    "before \"Admin - Compact blob store\" runs again, take what came back off the index: it deletes what it finds \
                     there, flagged or not. With a SQL database run the statements; with a line rebuildDeletedBlobIndex=true in \
                     {METADATA} take that out; up to 3.70 have the index rebuilt; in a bucket of up to 3.79 remove the tag deleted"
                ),
                "then start Nexus again, or restart it".into(),
            ];
            (advice, assets(keys).map(row).collect())
        }
    };
    Afterwards { advice, statements }
}

fn repair() -> String {
    "let it forget the assets whose blobs are gone: up to 3.82 \"Repair - Reconcile component database from blob store\" with \
     the integrity check, from 3.83 on delete these images in the user interface or by REST; until then it lists images that \
     cannot be pulled, and says of their layers that they are there"
        .into()
}

fn recalculate() -> String {
    "run \"Repair - Recalculate blob store storage\", and no task that restores the database from blob stores"
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "83e59741-f05d-4915-a1ba-7fc789be34b1";

    #[test]
    fn every_blob_that_was_flagged_gets_its_row() {
        let keys = [
            format!("content/vol-31/chap-32/{ID}.properties"),
            format!("it's/content/2026/11/22/13/24/{ID}.properties"),
            format!("content/vol-31/chap-32/{ID}.bytes"),
        ];
        let told = afterwards(Flags::Set, &keys, "default");
        let insert = "INSERT INTO soft_deleted_blobs (blob_id, source_blob_store_name, date_path_ref) VALUES";
        assert_eq!(
            told.statements,
            [
                format!("{insert} ('{ID}', 'default', NULL);"),
                format!("{insert} ('{ID}', 'it''s', '2026-11-22T13:24:00Z');"),
            ]
        );
        assert!(
            told.advice[1].contains("it's/metadata.properties, metadata.properties"),
            "{:?}",
            told.advice
        );
        let undone = afterwards(Flags::Lifted, &keys[..1], "default");
        assert_eq!(undone.statements, [format!("DELETE FROM soft_deleted_blobs WHERE blob_id = '{ID}';")]);
        assert!(afterwards(Flags::SetAndMoved, &keys, "x").statements.is_empty());
        assert_eq!(afterwards(Flags::Set, &[], "x"), Afterwards::default());
    }
}
