//! Opening a store, and telling its layout.

use super::PipelineError;
use crate::inventory::assets;
use crate::inventory::scan::{self, ScanError};
use crate::layout::{Distribution, Nexus, RegistryLayout};
use crate::store::{Access, Location, ReadStore, WriteStore};

/// The layout of a store: the one of this name, if it is there, or the one that is found.
///
/// # Errors
/// When it is not there, or the store cannot be read.
pub fn layout(store: &ReadStore, name: Option<&str>) -> Result<&'static dyn RegistryLayout, PipelineError> {
    tokio::task::block_in_place(|| match name {
        None => Ok(scan::detect(store)?),
        Some(name) if name == Nexus.name() => {
            if assets::detect(store)? {
                return Ok(&Nexus as &dyn RegistryLayout);
            }
            let place = &store.identity().url;
            Err(ScanError::NoRegistry(format!(
                "no Nexus blob store at {place}: there is no content directory with metadata.properties beside it"
            ))
            .into())
        }
        Some(_) => Ok(&Distribution as &dyn RegistryLayout),
    })
}

/// Opens a store to change it, and tells its layout: the one of this name, or the one that is found. Where there is no
/// registry nothing is written, not even our own state.
///
/// # Errors
/// When there is no registry or not that layout, or the store cannot be opened.
pub fn open(
    location: &Location,
    access: &Access,
    name: Option<&str>,
) -> Result<(WriteStore, &'static dyn RegistryLayout), PipelineError> {
    let store = ReadStore::open(location, access)?;
    let found = tokio::task::block_in_place(|| scan::detect(&store))?;
    let layout = name.map_or(Ok(found), |name| layout(&store, Some(name)))?;
    Ok((WriteStore::open(location, access)?, layout))
}
