//! The index of deleted blobs that Nexus up to 3.70 keeps in a blob store, `<node>-deletions.index`: a queue of UUIDs in
//! the format of Square's Tape 1.
//!
//! Four big-endian numbers of four bytes begin it: the file's length, how many elements there are, and where the first and
//! the last begin. An element is its length, in four bytes, and its bytes. Behind the header the file is a ring: what does
//! not fit at its end goes on behind the header.

use super::Uuid;

const HEADER: usize = 16;

/// Blobs that the index has. `None` when it is not whole: then it may have any.
pub fn deleted(file: &[u8]) -> Option<Vec<Uuid>> {
    let number = |at: usize| usize::try_from(u32::from_be_bytes(file.get(at..at + 4)?.try_into().ok()?)).ok();
    let (length, count, first) = (number(0)?, number(4)?, number(8)?);
    if length > file.len() || length < HEADER || (count > 0 && !(HEADER..length).contains(&first)) {
        return None;
    }
    let ring = &file[HEADER..length];
    // Every element has bytes of its own, so a count beyond that is none.
    if count > ring.len() / 4 {
        return None;
    }
    let mut bytes = ring.iter().cycle().skip(first.saturating_sub(HEADER)).take(ring.len()).copied();
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        let mut size = [0; 4];
        for byte in &mut size {
            *byte = bytes.next()?;
        }
        let size = usize::try_from(u32::from_be_bytes(size)).ok()?;
        let element: Vec<u8> = bytes.by_ref().take(size).collect();
        if element.len() < size {
            return None;
        }
        // Temporary blobs have other names, and no blob's.
        found.extend(std::str::from_utf8(&element).ok().and_then(Uuid::parse));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "9c847d7a-0f0d-4a72-bb0e-49ad697384df";
    const OTHER: &str = "3ee28f98-6cbd-43c4-b278-e414d78621e5";

    /// A file of `length` bytes whose elements begin at `first`.
    fn file(length: usize, first: usize, elements: &[&str]) -> Vec<u8> {
        let big = |value: usize| u32::try_from(value).unwrap().to_be_bytes();
        let mut file = vec![0; length];
        let mut at = first;
        for element in elements {
            for byte in big(element.len()).into_iter().chain(element.bytes()) {
                file[HEADER + (at - HEADER) % (length - HEADER)] = byte;
                at += 1;
            }
        }
        for (index, value) in [length, elements.len(), first, first].into_iter().enumerate() {
            file[index * 4..index * 4 + 4].copy_from_slice(&big(value));
        }
        file
    }

    fn ids(ids: &[&str]) -> Vec<Uuid> {
        ids.iter().map(|id| Uuid::parse(id).unwrap()).collect()
    }

    #[test]
    fn the_index_is_read_as_a_ring() {
        let one = file(4096, 16, &[ID]);
        // As Nexus writes it.
        assert_eq!(one[..20], [0, 0, 16, 0, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0, 0, 36]);
        assert_eq!(deleted(&one), Some(ids(&[ID])));
        for first in 4000..4096 {
            assert_eq!(deleted(&file(4096, first, &[ID, OTHER])), Some(ids(&[ID, OTHER])), "{first}");
        }
        assert_eq!(deleted(&file(4096, 16, &[&format!("tmp${ID}"), OTHER])), Some(ids(&[OTHER])));
        let mut empty = vec![0; 4096];
        empty[2] = 16;
        assert_eq!(deleted(&empty), Some(ids(&[])));
    }

    #[test]
    fn an_index_that_is_not_whole_is_none() {
        let whole = file(4096, 16, &[ID, OTHER]);
        for bad in [&whole[..0], &whole[..15], &whole[..4095]] {
            assert_eq!(deleted(bad), None, "{} bytes", bad.len());
        }
        for (at, value) in [(0, 0xff), (4, 0xff), (8, 0xff), (16, 0xff), (11, 3), (6, 16)] {
            let mut bad = whole.clone();
            bad[at] = value;
            assert_eq!(deleted(&bad), None, "byte {at}");
        }
    }
}
