//! Evidence from files: CSV with a line of column names, JSON, or JSON one object a line.

use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use super::EvidenceError;
use super::row::{self, Row};

/// Reads a file, and when it was last written.
///
/// # Errors
/// When it cannot be read, or not all of it is understood.
pub(super) fn read(path: &Path) -> Result<(Vec<Row>, Timestamp), EvidenceError> {
    let file = path.display().to_string();
    let error = |source| EvidenceError::Read { file: file.clone(), source };
    let mut open = std::fs::File::open(path).map_err(error)?;
    let mut text = String::new();
    open.read_to_string(&mut text).map_err(error)?;
    // The time is asked after the content: what is written meanwhile makes it older than it says, never younger.
    let written = open.metadata().and_then(|meta| meta.modified()).map_err(error)?;
    let written = Timestamp::try_from(written).unwrap_or(Timestamp::MIN);
    Ok((rows(&text, &file)?, written))
}

/// Reads the rows of a file's content.
///
/// # Errors
/// When not all of it is understood.
pub(super) fn rows(text: &str, file: &str) -> Result<Vec<Row>, EvidenceError> {
    match text.trim_start().chars().next() {
        Some('[' | '{') => of_json(text, file),
        _ => of_csv(text, file),
    }
}

fn format(file: &str, place: String, why: impl Into<String>) -> EvidenceError {
    EvidenceError::Format { file: file.to_owned(), place, why: why.into() }
}

fn of_json(text: &str, file: &str) -> Result<Vec<Row>, EvidenceError> {
    let mut found = Vec::new();
    let mut item = 0;
    let mut take = |value: &Value| {
        item += 1;
        let row = row::of_json(value).map_err(|why| format(file, format!("item {item}"), why))?;
        found.push(row);
        Ok(())
    };
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let document =
            document.map_err(|error| format(file, format!("line {}", error.line()), error.to_string()))?;
        match (&document, document.get("items").and_then(Value::as_array)) {
            // Pages of the REST interface, saved one after the other.
            (_, Some(items)) | (Value::Array(items), _) => items.iter().try_for_each(&mut take)?,
            (object, _) => take(object)?,
        }
    }
    // Validation: a listing that goes on elsewhere is none.
    let last = serde_json::Deserializer::from_str(text).into_iter::<Value>().filter_map(Result::ok).last();
    if last.is_some_and(|last| last.get("continuationToken").is_some_and(|token| !token.is_null())) {
        return Err(format(
            file,
            "its end".into(),
            "the last page has a continuationToken: pages are missing",
        ));
    }
    Ok(found)
}

fn of_csv(text: &str, file: &str) -> Result<Vec<Row>, EvidenceError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let at = |error: csv::Error| {
        let place = error.position().map_or("its beginning".into(), |at| format!("line {}", at.line()));
        format(file, place, error.to_string())
    };
    let headers = reader.headers().map_err(at)?.clone();
    let columns: Vec<&str> = headers.iter().collect();
    let index = row::is_index(&columns);
    if !index && !row::is_assets(&columns) {
        let why = format!(
            "the columns are {}, and one must be called blob_ref, or two repo and path, or for the index of deleted \
             blobs one blob_id",
            columns.join(", ")
        );
        return Err(format(file, "line 1".into(), why));
    }
    // An index without entries says that nothing is in it, which an absent one does not.
    let mut found = if index { vec![Row::Deleted(None)] } else { Vec::new() };
    for record in reader.records() {
        let record = record.map_err(at)?;
        let line = record.position().map_or(0, csv::Position::line);
        let get = |name: &str| {
            let column = columns.iter().position(|column| *column == name)?;
            record.get(column)
        };
        found.push(row::read(get).map_err(|why| format(file, format!("line {line}"), why))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::nexus::Uuid;
    use crate::oci::Digest;

    const ID: &str = "9c847d7a-0f0d-4a72-bb0e-49ad697384df";

    fn why(text: &str) -> String {
        rows(text, "dump").unwrap_err().to_string()
    }

    #[test]
    fn the_documented_export_is_read() {
        let hex = Digest::of(b"x").hex();
        let csv = format!(
            "repo,path,kind,blob_ref,checksums\n\
             docker-hosted,/v2/-/blobs/sha256:{hex},BLOB,default@{ID}@2026-11-22T13:24,\"{{\"\"sha256\"\": \"\"{hex}\"\"}}\"\n\
             ,,,default@{ID},\n"
        );
        let json = format!(
            "[{{\"repo\":\"docker-hosted\",\"path\":\"/v2/-/blobs/sha256:{hex}\",\"blob_ref\":\"default@{ID}\",\
             \"checksums\":{{\"sha256\":\"{hex}\"}}}},{{\"blob_ref\":\"default:{ID}@node\"}}]"
        );
        for text in [csv, json] {
            let found = rows(&text, "dump").unwrap();
            let id = Uuid::parse(ID);
            assert_eq!(
                found,
                [
                    Row::Asset {
                        blob: id,
                        repository: Some("docker-hosted".into()),
                        path: Some(format!("/v2/-/blobs/sha256:{hex}")),
                        digest: Some(Digest::of(b"x")),
                        proxy: false,
                    },
                    Row::Asset { blob: id, repository: None, path: None, digest: None, proxy: false },
                ]
            );
        }
    }

    #[test]
    fn saved_pages_are_read_when_they_are_whole() {
        let page = |token: &str| {
            format!(
                "{{\"items\":[{{\"repository\":\"d\",\"path\":\"v2/a/manifests/1\",\"format\":\"docker\",\
                 \"checksum\":{{\"sha1\":\"00\"}}}}],\"continuationToken\":{token}}}\n"
            )
        };
        assert_eq!(rows(&(page("\"x\"") + &page("null")), "dump").unwrap().len(), 2);
        assert!(why(&page("\"x\"")).contains("pages are missing"));
    }

    #[test]
    fn an_index_may_be_empty_and_is_one_all_the_same() {
        assert_eq!(rows("record_id,blob_id\n", "index").unwrap(), [Row::Deleted(None)]);
        let one = rows(&format!("blob_id\n{ID}\n"), "index").unwrap();
        assert_eq!(one[1], Row::Deleted(Uuid::parse(ID)));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(why("a,b\n1,2\n").contains("line 1: the columns are a, b"));
        assert!(why("blob_ref\ndefault\n").contains("line 2: \"default\" is no blob reference"));
        assert!(why("repo,path,blob_ref\nd,/v2/a,\nd,,\n").contains("line 3: it has neither"));
        assert!(why("repo,path\nd\n").contains("line 2"));
        assert!(why("[{\"x\":1}]").contains("item 1: it has neither"));
        assert!(why("[{\"blob_ref\":").contains("line 1"));
        assert!(why("").contains("the columns are"));
    }
}
