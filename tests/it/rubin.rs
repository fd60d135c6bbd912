//! The tag history of a science platform under the preset `rubin`: years of dailies, weeklies and releases.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use regsweep::plan::{Action, Mode};
use regsweep::synth::{Builder, ImageSpec};

use crate::support::{days_later, job, look, policy, present};

const LAB: &str = "lsst-sqre/sciplat-lab";

/// What the design document of the policy says of this registry.
const POLICY: &str = "version: 1
limits: { tags: 100%, bytes: 100%, repository_may_empty: false }
policies:
  - name: science-lab
    repositories: [lsst-sqre/sciplat-lab]
    preset: rubin
    tags:
      release:           { keep: { within: 1096d } }
      weekly:            { keep: { last: 78 } }
      daily:             { keep: { last: 25 } }
      release-candidate: { keep: { last: 5 } }
      experimental:      { keep: { within: 30d } }
      unknown:           { keep: { within: 7d } }
    untagged: { keep: { last: 4 } }
";

/// So many days after all was written everything is decided: a disk knows when that was, whatever else it is told.
const WAITED: u32 = 2;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Tags, each with the days since it was pushed.
#[derive(Default)]
struct Tags(BTreeMap<String, u32>);

impl Tags {
    fn push(&mut self, tag: impl Into<String>, days: u32) {
        assert!(self.0.insert(tag.into(), days).is_none());
    }
}

fn today() -> Date {
    Timestamp::try_from(present()).unwrap().to_zoned(TimeZone::UTC).date()
}

/// Four years of a project. Each list has its newest tag first, as its class orders them.
struct History {
    tags: Tags,
    dailies: Vec<String>,
    weeklies: Vec<String>,
    candidates: Vec<String>,
}

fn history() -> History {
    let mut history =
        History { tags: Tags::default(), dailies: Vec::new(), weeklies: Vec::new(), candidates: Vec::new() };
    for days in 2..4 * 365 {
        let date = today() - i64::from(days).days();
        let daily = date.strftime("d_%Y_%m_%d").to_string();
        // Some days were built for a cycle too, and a few twice.
        if days % 10 == 3 {
            history.dailies.push(format!("{daily}_c0042.010"));
            history.dailies.push(format!("{daily}_c0042.009_20260101"));
            history.dailies.push(format!("{daily}_c0042.009"));
        }
        history.dailies.push(daily);
        if date.weekday() == jiff::civil::Weekday::Thursday {
            let week = date.iso_week_date();
            let weekly = format!("w_{}_{:02}", week.year(), week.week());
            if week.week() % 5 == 0 {
                history.weeklies.push(format!("{weekly}_rsp19"));
            }
            history.weeklies.push(weekly);
        }
    }
    for release in (24..=29).rev() {
        for candidate in (1..=11).rev() {
            history.candidates.push(format!("r{release}_0_0_rc{candidate}"));
        }
    }
    // Old names are pushed anew when an old image is built again: that makes none of them newer.
    let pushed = |list: &[String], number: usize| if number % 40 == 39 { 3 } else { age(list, number) };
    for list in [&history.dailies, &history.weeklies, &history.candidates] {
        for (number, tag) in list.iter().enumerate() {
            history.tags.push(tag.clone(), pushed(list, number));
        }
    }
    for (tag, days) in [
        ("r29_0_0", 40),
        ("r28_0_1", 400),
        ("r28_0_0_rsp9_c0040.002_20250101", 1000),
        ("r28_0_0", 1095),
        ("r27_0_0", 1097),
        ("r26_0_0_c0030.001", 1200),
        ("r170", 2500),
        ("exp_w_2026_01_nosudo", 29),
        ("exp_d_2025_02_03", 31),
        ("exp_mine", 400),
        ("tickets-dm-1", 6),
        ("tickets-dm-2", 8),
        ("w_latest", 8),
        ("rc1", 8),
        ("recommended", 2000),
        ("recommended_c0042", 2000),
        ("latest", 2000),
        ("latest_weekly", 2000),
        ("latest_daily", 2000),
    ] {
        history.tags.push(tag, days);
    }
    history
}

/// The age of a tag by its place in its list: evenly over the four years, two days at least.
fn age(list: &[String], number: usize) -> u32 {
    let days = 2 + number * 4 * 365 / list.len();
    u32::try_from(days).unwrap()
}

#[test]
fn years_of_a_project_come_out_as_the_policy_says() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let history = history();
    assert!(history.dailies.len() > 1800 && history.weeklies.len() > 240, "hundreds of each");
    let mut builder = Builder::new(&root, present()).unwrap();
    let layer = builder.at(2600 * DAY).blob(b"the layer of all").unwrap();
    for (tag, days) in &history.tags.0 {
        builder.at((*days - WAITED) * DAY);
        let image = builder.image(LAB, &ImageSpec::new(tag.clone(), vec![layer.clone()])).unwrap();
        builder.tag(LAB, tag, &image).unwrap();
    }
    let policy = policy(POLICY);
    let job = job(Some(&policy), Mode::Online);
    let clock = days_later(WAITED.into());
    clock.advance(Duration::from_secs(60));
    let (store, survey, plan) = look(&root, &job, &clock);
    let gone: BTreeSet<&str> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Untag { tag, .. } => Some(tag.as_str()),
            _ => None,
        })
        .collect();
    let left = |list: &[String]| -> Vec<String> {
        list.iter().filter(|tag| !gone.contains(tag.as_str())).cloned().collect()
    };
    assert_eq!(left(&history.dailies), history.dailies[..25]);
    assert_eq!(left(&history.weeklies), history.weeklies[..78]);
    let candidates = ["r29_0_0_rc11", "r29_0_0_rc10", "r29_0_0_rc9", "r29_0_0_rc8", "r29_0_0_rc7"];
    assert_eq!(left(&history.candidates), candidates);
    let of_a_list = |tag: &str| {
        [&history.dailies, &history.weeklies, &history.candidates]
            .iter()
            .any(|list| list.iter().any(|one| one == tag))
    };
    let others: Vec<&str> = gone.iter().copied().filter(|tag| !of_a_list(tag)).collect();
    let expected = [
        "exp_d_2025_02_03",
        "exp_mine",
        "r170",
        "r26_0_0_c0030.001",
        "r27_0_0",
        "rc1",
        "tickets-dm-2",
        "w_latest",
    ];
    assert_eq!(others, expected);
    survey.check(plan, &store, &job).unwrap_or_else(|refused| panic!("{:#?}", refused.refusals));
}
