//! Classes that come with regsweep, each as a policy document that a user could have written.

use std::sync::OnceLock;

use crate::policy::pattern::PatternList;
use crate::policy::read;
use crate::policy::rules::Class;

const NAMES: [&str; 4] = ["semver", "calver", "git-sha", "rubin"];

/// A preset, read.
#[derive(Debug)]
pub(super) struct Preset {
    pub(super) name: &'static str,
    /// Its classes; a tag belongs to the first that matches.
    pub(super) classes: Vec<Class>,
    /// The tags it protects.
    pub(super) protect: PatternList,
}

/// The names that `preset` accepts.
pub fn names() -> &'static [&'static str] {
    &NAMES
}

/// The document of a preset; `None` when there is none of that name.
pub fn text(name: &str) -> Option<&'static str> {
    Some(match name {
        "semver" => include_str!("presets/semver.yaml"),
        "calver" => include_str!("presets/calver.yaml"),
        "git-sha" => include_str!("presets/git-sha.yaml"),
        "rubin" => include_str!("presets/rubin.yaml"),
        _ => return None,
    })
}

/// A preset, read once.
pub(super) fn named(name: &str) -> Option<&'static Preset> {
    static PRESETS: OnceLock<Vec<Preset>> = OnceLock::new();
    let presets = PRESETS.get_or_init(|| {
        NAMES
            .into_iter()
            .filter_map(|name| text(name).map(|text| read::preset(name, text)))
            .collect::<Result<_, _>>()
            .expect("the tests read every preset")
    });
    presets.iter().find(|preset| preset.name == name)
}
