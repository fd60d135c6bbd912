//! Keys of Nexus blob stores, read and written.

use proptest::prelude::*;

use super::*;

const ID: &str = "9c847d7a-0f0d-4a72-bb0e-49ad697384df";

fn entry(key: &str) -> Entry<'_> {
    Nexus.classify(key)
}

fn home() -> String {
    Place::VolumeChapter.directory(Uuid::parse(ID).unwrap())
}

#[test]
fn every_part_of_a_store_is_told_apart() {
    let (home, wrong) = (home(), "vol-01/chap-01");
    for store in ["", "default/", "docker hosted/"] {
        for suffix in ["bytes", "properties"] {
            for place in [home.as_str(), "2026/11/22/13/24"] {
                let key = format!("{store}content/{place}/{ID}.{suffix}");
                let Entry::Asset(found) = entry(&key) else { panic!("{key}: {:?}", entry(&key)) };
                assert_eq!((found.store, found.id.to_string().as_str()), (store.trim_end_matches('/'), ID));
                assert_eq!(Nexus.key(&Entry::Asset(found)), Some(key));
            }
            let key = format!("{store}content/{wrong}/{ID}.{suffix}");
            assert_eq!(entry(&key), Entry::Foreign(ForeignReason::WrongShard));
            for place in ["2025/13/40/00/00", "vol-1/chap-1x", "2025/01/01/00", "other"] {
                let key = format!("{store}content/{place}/{ID}.{suffix}");
                assert!(matches!(entry(&key), Entry::Foreign(_)), "{key}");
            }
            let upper = format!("{store}content/{home}/{}.{suffix}", ID.to_uppercase());
            assert_eq!(entry(&upper), Entry::Foreign(ForeignReason::Unexpected));
        }
        for staged in [
            format!("content/tmp/tmp${ID}.{ID}.bytes"),
            format!("content/{home}/{ID}.properties-{ID}-0.tmp"),
            format!("content/2026/11/22/13/24/{ID}.properties.bak"),
        ] {
            assert_eq!(entry(&format!("{store}{staged}")), Entry::Staged, "{staged}");
        }
        for own in [
            "metadata.properties",
            "0FB7-metrics.properties",
            "0FB7-deletions.index",
            "deletions.index",
            "reconciliation/2026-11-22",
            "content/directpath/some/file.bytes",
        ] {
            assert_eq!(entry(&format!("{store}{own}")), Entry::Bookkeeping, "{own}");
        }
    }
    assert_eq!(entry(".regsweep/lease"), Entry::OwnState);
    for foreign in ["a//b", "/content/x", "x", "content/x", "docker/registry/v2/blobs/x", "a/b/content/tmp/x"]
    {
        assert!(matches!(entry(foreign), Entry::Foreign(_)), "{foreign}: {:?}", entry(foreign));
    }
}

#[test]
fn a_store_that_is_called_like_a_part_of_one_has_no_key() {
    let id = Uuid::parse(ID).unwrap();
    for store in ["content", "reconciliation", "a/b", "..", ".regsweep"] {
        let asset = AssetKey { store, id, place: Place::VolumeChapter, part: Part::Bytes };
        assert_eq!(Nexus.key(&Entry::Asset(asset)), None, "{store}");
    }
}

#[test]
fn directories_lead_to_blobs_or_are_foreign() {
    for open in [
        "",
        "default",
        "content",
        "default/content",
        "content/vol-01",
        "content/vol-01/chap-02",
        "content/2026",
        "content/2026/11/22/13/24",
        "content/tmp",
        "content/directpath/x",
        "reconciliation",
    ] {
        assert_eq!(Nexus.classify_directory(open), Directory::Open, "{open}");
    }
    for foreign in ["content/x", "content/2026/1", "content/vol-01/chap-02/x", "a/b", "a/b/content"] {
        assert!(matches!(Nexus.classify_directory(foreign), Directory::Foreign(_)), "{foreign}");
    }
}

fn key() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        prop::sample::select(vec![
            "content",
            "tmp",
            "directpath",
            "vol-01",
            "chap-02",
            "2026",
            "11",
            "22",
            "default",
            "..",
            "",
            ".regsweep",
            "reconciliation",
            "metadata.properties",
        ])
        .prop_map(str::to_owned),
        Just(home()),
        Just(format!("{ID}.bytes")),
        Just(format!("{ID}.properties")),
        Just(format!("{ID}.properties-{ID}-1.tmp")),
        any::<u128>().prop_map(|bits| format!("{}.bytes", Uuid::from_bits(bits))),
        "\\PC{0,3}",
    ];
    prop::collection::vec(component, 0..9).prop_map(|parts| parts.join("/"))
}

proptest! {
    #[test]
    fn a_key_that_is_a_blobs_is_written_as_it_was(key in key()) {
        let found = entry(&key);
        if let Entry::Asset(_) = found {
            prop_assert_eq!(Nexus.key(&found), Some(key.clone()));
            for (slash, _) in key.match_indices('/') {
                prop_assert_eq!(Nexus.classify_directory(&key[..slash]), Directory::Open);
            }
        } else {
            prop_assert_eq!(Nexus.key(&found), None);
        }
    }

    #[test]
    fn a_blob_is_found_where_it_is_put(bits in any::<u128>(), minute in prop::option::of(0_i64..4_000_000_000)) {
        let id = Uuid::from_bits(bits);
        let place = minute.map_or(Place::VolumeChapter, |second| {
            Place::Dated(Minute::of(jiff::Timestamp::from_second(second).unwrap()).unwrap())
        });
        for part in [Part::Bytes, Part::Record] {
            let asset = Entry::Asset(AssetKey { store: "default", id, place, part });
            let key = Nexus.key(&asset).unwrap();
            prop_assert_eq!(entry(&key), asset);
        }
    }
}
