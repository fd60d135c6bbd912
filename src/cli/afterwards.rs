//! What is to be done after the flags of records were changed, where the layout has such.

use super::{Failure, data};
use crate::layout::{Afterwards, Flags, Keeps, RegistryLayout};
use crate::store::ReadStore;
use crate::sweep::records::{self, Flagged};

/// Statements shown before the rest is only counted.
const SHOWN: usize = 20;

/// What follows on runs, by their names.
pub(super) async fn of_runs(
    store: &ReadStore,
    layout: &dyn RegistryLayout,
    runs: &[&str],
) -> Result<Option<Afterwards>, Failure> {
    if layout.keeps() == Keeps::Links {
        return Ok(None);
    }
    let mut found = Flagged::default();
    for run in runs {
        records::flagged(store, run, &mut found).await?;
    }
    let in_place = of_records(store, layout, Flags::Set, &found.in_place);
    Ok(in_place.or_else(|| of_records(store, layout, Flags::SetAndMoved, &found.moved)))
}

/// What follows on a change of the flags of these records; nothing where nothing does.
pub(super) fn of_records(
    store: &ReadStore,
    layout: &dyn RegistryLayout,
    flags: Flags,
    keys: &[String],
) -> Option<Afterwards> {
    let root = store.identity().url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    Some(layout.afterwards(flags, keys, root)).filter(|told| !told.advice.is_empty())
}

/// Tells a person.
pub(super) fn tell(told: &Afterwards, all: bool) {
    data("\nto be done now, in this order:\n");
    for (number, advice) in told.advice.iter().enumerate() {
        data(&format!("  {}. {advice}\n", number + 1));
    }
    let shown = if all { usize::MAX } else { SHOWN };
    for statement in told.statements.iter().take(shown) {
        data(&format!("{statement}\n"));
    }
    if told.statements.len() > shown {
        data(&format!("-- and {} more: --all or --json shows them\n", told.statements.len() - shown));
    }
}
