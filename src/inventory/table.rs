//! One small row for each digest seen anywhere: as data, behind a link, or named by a manifest.

use hashbrown::HashTable;
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::Hasher;

use jiff::Timestamp;

use crate::oci::Digest;

/// A digest's place in a [`BlobTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId(u32);

impl BlobId {
    /// The row's number.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

const UNKNOWN_SIZE: u64 = u64::MAX;
const UNKNOWN_TIME: u32 = u32::MAX;

/// Digests, interned. About 50 bytes a row: 32 of digest, 8 of size, 4 of time, 1 of flags, 5 of index.
#[derive(Debug, Default)]
pub struct BlobTable {
    digests: Vec<[u8; 32]>,
    sizes: Vec<u64>,
    /// Seconds since 1970.
    changed: Vec<u32>,
    present: Vec<bool>,
    index: HashTable<u32>,
    /// A sha512 row keeps its first half in `digests` and its whole here.
    long: FxHashMap<u32, [u8; 64]>,
}

impl BlobTable {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Whether no digest was seen.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// The row of `digest`, made when there is none.
    ///
    /// # Panics
    /// Above 4,294,967,295 digests.
    pub fn intern(&mut self, digest: &Digest) -> BlobId {
        let hash = hash(digest);
        let Self { digests, index, long, .. } = self;
        if let Some(&found) = index.find(hash, |&row| same(digests, long, row, digest)) {
            return BlobId(found);
        }
        let row = u32::try_from(self.digests.len()).expect("fewer than 2^32 digests");
        self.digests.push(head(digest));
        self.sizes.push(UNKNOWN_SIZE);
        self.changed.push(UNKNOWN_TIME);
        self.present.push(false);
        if let Digest::Sha512(whole) = digest {
            self.long.insert(row, *whole);
        }
        let Self { digests, index, long, .. } = self;
        index.insert_unique(hash, row, |&row| hash_row(digests, long, row));
        BlobId(row)
    }

    /// The row of `digest`, when it was seen.
    pub fn find(&self, digest: &Digest) -> Option<BlobId> {
        self.index
            .find(hash(digest), |&row| same(&self.digests, &self.long, row, digest))
            .map(|&row| BlobId(row))
    }

    /// The digest of a row.
    pub fn digest(&self, id: BlobId) -> Digest {
        self.long
            .get(&id.0)
            .map_or_else(|| Digest::Sha256(self.digests[id.index()]), |whole| Digest::Sha512(*whole))
    }

    /// Whether data was listed for it.
    pub fn is_present(&self, id: BlobId) -> bool {
        self.present[id.index()]
    }

    /// Says that data is there, or that it proved absent.
    pub fn set_present(&mut self, id: BlobId, present: bool) {
        self.present[id.index()] = present;
    }

    /// Size in bytes: of the data where it was asked for, else as a descriptor states it, else unknown.
    pub fn size(&self, id: BlobId) -> Option<u64> {
        let size = self.sizes[id.index()];
        (size != UNKNOWN_SIZE).then_some(size)
    }

    /// Notes what the store says of the data. It overrides what descriptors state.
    pub fn measure(&mut self, id: BlobId, size: u64, changed: Timestamp) {
        self.sizes[id.index()] = size;
        let second = changed.as_second().clamp(0, i64::from(UNKNOWN_TIME - 1));
        self.changed[id.index()] = u32::try_from(second).unwrap_or(UNKNOWN_TIME - 1);
    }

    /// Notes what a descriptor states, where the store has not said it.
    pub fn state_size(&mut self, id: BlobId, size: u64) {
        if self.changed[id.index()] == UNKNOWN_TIME {
            self.sizes[id.index()] = size;
        }
    }

    /// When the data last changed, in whole seconds from 1970 to 2105, where the store was asked.
    pub fn changed(&self, id: BlobId) -> Option<Timestamp> {
        let second = self.changed[id.index()];
        (second != UNKNOWN_TIME).then(|| Timestamp::from_second(i64::from(second)).unwrap_or(Timestamp::MAX))
    }

    /// Every row.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = BlobId> + use<> {
        (0..u32::try_from(self.digests.len()).unwrap_or(u32::MAX)).map(BlobId)
    }

    /// Every row that has data.
    pub fn present(&self) -> impl Iterator<Item = BlobId> {
        self.ids().filter(|id| self.is_present(*id))
    }
}

/// One bit a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobSet {
    words: Vec<u64>,
    count: usize,
}

impl BlobSet {
    /// An empty set with room for every row of `table`.
    pub fn for_table(table: &BlobTable) -> Self {
        Self { words: vec![0; table.len().div_ceil(64)], count: 0 }
    }

    /// Adds a row; `true` when it was not in the set.
    pub fn insert(&mut self, id: BlobId) -> bool {
        let (word, bit) = (id.index() / 64, 1_u64 << (id.index() % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += usize::from(new);
        new
    }

    /// Whether the row is in the set.
    pub fn contains(&self, id: BlobId) -> bool {
        self.words.get(id.index() / 64).is_some_and(|word| word & (1 << (id.index() % 64)) != 0)
    }

    /// How many rows are in the set.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn head(digest: &Digest) -> [u8; 32] {
    match digest {
        Digest::Sha256(bytes) => *bytes,
        Digest::Sha512(bytes) => std::array::from_fn(|i| bytes[i]),
    }
}

fn hash(digest: &Digest) -> u64 {
    hash_parts(&head(digest), matches!(digest, Digest::Sha512(_)))
}

fn hash_row(digests: &[[u8; 32]], long: &FxHashMap<u32, [u8; 64]>, row: u32) -> u64 {
    hash_parts(&digests[row as usize], !long.is_empty() && long.contains_key(&row))
}

fn hash_parts(head: &[u8; 32], long: bool) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(&head[..16]);
    hasher.write_u8(u8::from(long));
    hasher.finish()
}

fn same(digests: &[[u8; 32]], long: &FxHashMap<u32, [u8; 64]>, row: u32, digest: &Digest) -> bool {
    match digest {
        Digest::Sha256(bytes) => {
            digests[row as usize] == *bytes && (long.is_empty() || !long.contains_key(&row))
        }
        Digest::Sha512(bytes) => long.get(&row).is_some_and(|whole| whole == bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sha512_digest_is_not_the_sha256_digest_that_it_begins_with() {
        let mut table = BlobTable::default();
        let short = Digest::Sha256([7; 32]);
        let long = Digest::Sha512([7; 64]);
        let other = Digest::Sha512(std::array::from_fn(|i| if i < 32 { 7 } else { 8 }));
        let ids = [table.intern(&short), table.intern(&long), table.intern(&other)];
        assert_eq!(ids.map(BlobId::index), [0, 1, 2]);
        for (id, digest) in ids.into_iter().zip([short, long, other]) {
            assert_eq!(table.intern(&digest), id);
            assert_eq!(table.find(&digest), Some(id));
            assert_eq!(table.digest(id), digest);
        }
    }

    #[test]
    fn what_the_store_says_of_a_size_beats_what_a_descriptor_states() {
        let mut table = BlobTable::default();
        let id = table.intern(&Digest::of(b"x"));
        assert_eq!(table.size(id), None);
        table.state_size(id, 5);
        assert_eq!(table.size(id), Some(5));
        table.measure(id, 1, Timestamp::UNIX_EPOCH);
        table.state_size(id, 5);
        assert_eq!(table.size(id), Some(1));
        assert_eq!(table.changed(id), Some(Timestamp::UNIX_EPOCH));
    }

    proptest::proptest! {
        #[test]
        fn interning_is_a_bijection(digests in proptest::collection::vec(proptest::array::uniform32(0_u8..3), 0..200)) {
            let mut table = BlobTable::default();
            for bytes in &digests {
                let digest = Digest::Sha256(*bytes);
                let id = table.intern(&digest);
                proptest::prop_assert_eq!(table.digest(id), digest);
            }
            let unique: std::collections::HashSet<_> = digests.iter().collect();
            proptest::prop_assert_eq!(unique.len(), table.len());
        }
    }
}
