use super::*;
use crate::config::values::Period;
use crate::oci::{Digest, TagName};
use crate::plan::usage::Usage;
use crate::report::{CorruptLink, DanglingTag};
use crate::sweep::Executed;

const HOSTILE: &str = "<script>alert(1)<img src=x onerror='a()'>\"&\u{202e}";

fn used(name: &str, alone: u64, shared: u64, unneeded: u64) -> UsedIn {
    UsedIn {
        repository: RepositoryName::found(name).unwrap(),
        tags: 1,
        manifests: 2,
        exclusive_bytes: alone,
        shared_bytes: 2 * shared,
        part: Part { alone, shared, unneeded },
    }
}

fn example(repositories: Vec<UsedIn>, problems: Problems) -> Page {
    let now: Timestamp = "2026-02-03T04:05:06Z".parse().unwrap();
    let bytes = repositories.iter().map(|one| one.part.bytes()).sum();
    let usage = Usage { repositories, unlinked: Part::default() };
    let saw = Counts { bytes, live_bytes: bytes / 2, ..Counts::default() };
    Page {
        written: now,
        store: Identity { url: "file:///var/lib/registry".into(), fingerprint: "inode 1".into() },
        layout: "distribution".into(),
        address: vec!["file:///var/lib/registry".into()],
        policy: Some("policy.yaml".into()),
        notices: Vec::new(),
        contents: Some(Contents::of(now, saw, usage, problems, None)),
        planned: None,
        history: History::default(),
    }
}

/// The page without its style sheet.
fn body(of: &Page) -> String {
    let html = page(of);
    html.split_once("</style>").unwrap().1.to_owned()
}

fn run(outcome: RunOutcome) -> RunLine {
    RunLine {
        run: "20260101T000000000Z-00001".into(),
        kind: HOSTILE.into(),
        started: Timestamp::UNIX_EPOCH,
        outcome,
    }
}

/// A page in which everything that comes from a store says the same hostile thing.
fn hostile() -> Page {
    let repository = || RepositoryName::found(HOSTILE).unwrap();
    let gap =
        crate::inventory::Gap { repository: Some(repository()), key: HOSTILE.into(), why: HOSTILE.into() };
    let problems = Problems {
        gaps: vec![gap],
        broken_images: vec![crate::report::BrokenImage {
            repository: repository(),
            manifest: Digest::of(b""),
            tags: vec![TagName::found(HOSTILE).unwrap()],
            missing: vec![Digest::of(b"1")],
            unlinked: vec![Digest::of(b"2"), Digest::of(b"3")],
        }],
        dangling_tags: vec![DanglingTag {
            repository: repository(),
            tag: TagName::found(HOSTILE).unwrap(),
            target: None,
        }],
        corrupt_links: vec![CorruptLink { repository: repository(), what: HOSTILE.into(), size: 3 }],
        opaque_manifests: vec![crate::report::OpaqueManifest {
            repository: repository(),
            manifest: Digest::of(b""),
            media_type: Some(HOSTILE.into()),
        }],
        stray_trash: vec![HOSTILE.into()],
    };
    let mut page = example(vec![used(HOSTILE, 500, 300, 200)], problems);
    page.store.url = HOSTILE.into();
    page.layout = HOSTILE.into();
    page.address = vec![HOSTILE.into()];
    page.policy = Some(HOSTILE.into());
    page.notices = vec![Notice { attention: Attention::Look, text: HOSTILE.into() }];
    let left = crate::sweep::Left { step: HOSTILE.into(), why: HOSTILE.into() };
    let mut executed = Executed { failed: vec![left], ..Executed::default() };
    executed.done.insert("untag".into(), 1);
    page.history.runs = vec![run(RunOutcome::Ended(executed)), run(RunOutcome::Unfinished)];
    page.history.trash = vec![TrashLine {
        run: HOSTILE.into(),
        amount: Amount { objects: 1, bytes: 2 },
        until: None,
        manifests_until: None,
    }];
    let row = crate::plan::FreedIn {
        repository: repository(),
        tags: 1,
        tags_gone: 1,
        manifests_gone: 1,
        exclusive_bytes: 1,
        shared_bytes: 1,
    };
    page.planned = Some(Planned {
        standing: Standing::Refused,
        mode: Mode::Online,
        grace: Period::from_days(1).to_string(),
        trash_keep: Period::from_days(7).to_string(),
        steps: BTreeMap::from([("untag", 1)]),
        tags: vec![(HOSTILE.into(), HOSTILE.into())],
        tags_gone: 1,
        manifests: vec![(HOSTILE.into(), HOSTILE.into())],
        manifests_gone: 1,
        freed: Freed { repositories: vec![row], ..Freed::default() },
        condemned: Waiting::default(),
        refusals: vec![HOSTILE.into()],
        held_back: Some(HeldBack { objects: 1, bytes: 1, why: HOSTILE.into() }),
    });
    page
}

#[test]
fn what_a_store_says_is_never_markup() {
    let page = hostile();
    let html = super::page(&page);
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains('\u{202e}'), "{html}");
    let escaped = "&lt;script&gt;alert(1)&lt;img src=x onerror=&#39;a()&#39;&gt;&quot;&amp;\u{fffd}";
    // Twice in the title and head, and once at least in each place that the page has for a name or a reason.
    assert!(html.matches(escaped).count() >= 25, "{}", html.matches(escaped).count());
    // Outside of tags there is no quote that HTML would take for the end of an attribute.
    let tags = html.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag);
    for tag in tags.filter(|tag| !tag.starts_with("style")) {
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        assert!(!tag.contains("onerror") || tag.contains("data-name=\""), "<{tag}>");
    }
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let html = page(&hostile());
    for word in ["<script", "javascript:", "http://", "https://", " style=", "@import", "url("] {
        assert!(!html.contains(word), "{word}");
    }
    let meta = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src &#39;none&#39;; style-src &#39;sha256-";
    assert!(html.contains(meta), "{html}");
}

#[test]
fn the_page_of_a_huge_store_is_as_long_as_that_of_a_large_one() {
    let of = |count: u64| {
        let repositories =
            (0..count).map(|index| used(&format!("team/{index:06}"), 1000 + index, 10, 1)).collect();
        let dangling = |index| DanglingTag {
            repository: RepositoryName::found(&format!("team/{index}")).unwrap(),
            tag: TagName::found("1").unwrap(),
            target: None,
        };
        let problems = Problems { dangling_tags: (0..count).map(dangling).collect(), ..Problems::default() };
        example(repositories, problems)
    };
    let (large, huge) = (body(&of(1000)), body(&of(100_000)));
    assert!(huge.len() < large.len() + 2000, "{} and {}", large.len(), huge.len());
    assert!(huge.contains("The 40 largest of 100,000 repositories as a table"));
    assert!(huge.contains("99,960 other repositories"));
    assert!(huge.contains("… and 99,990 more"));
    // What is summed is not lost: the tiles are the whole store.
    let map = huge.split("class=\"map wide\"").nth(1).unwrap().split("class=\"map narrow\"").next().unwrap();
    let tiles = map.split("data-bytes=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let sum: u64 = tiles.map(|bytes| bytes.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, (0..100_000).map(|index| 1011 + index).sum::<u64>());
}

#[test]
fn one_look_says_what_needs_attention() {
    let well = example(vec![used("app", 5, 5, 5)], Problems::default());
    assert!(body(&well).contains("class=\"status well\"") && body(&well).contains("Nothing needs attention"));
    let mut look = well.clone();
    look.notices
        .push(Notice { attention: Attention::Look, text: "the policy could not be read again".into() });
    assert!(body(&look).contains("class=\"status look\""), "{}", body(&look));
    let mut needed = look.clone();
    needed.history.runs = vec![run(RunOutcome::Unfinished)];
    let html = page(&needed);
    assert!(html.contains("class=\"status needed\"") && html.contains("One thing needs attention"), "{html}");
    assert!(html.contains("<title>! file:///var/lib/registry"), "{html}");
    assert!(html.contains("<a href=\"#runs\">The last run has no end"), "{html}");
    // What an older run left undone is no news.
    let mut mended = needed;
    mended.history.runs.insert(0, run(RunOutcome::Ended(Executed::default())));
    assert!(body(&mended).contains("class=\"status look\""));
    assert!(hostile().contents.is_some() && body(&hostile()).contains("class=\"status needed\""));
}

#[test]
fn a_command_to_copy_is_quoted() {
    let mut page = example(Vec::new(), Problems::default());
    page.address = vec!["file:///var/lib/my registry".into(), "--state".into(), "s3://state".into()];
    page.history.trash = vec![TrashLine {
        run: "20260101T0".into(),
        amount: Amount::default(),
        until: Some(Timestamp::UNIX_EPOCH),
        manifests_until: Some(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24)),
    }];
    let html = body(&page);
    let command =
        "regsweep restore &#39;file:///var/lib/my registry&#39; --state s3://state 20260101T0</code>";
    assert!(html.contains(command), "{html}");
    assert!(html.contains("1970-01-01 00:00 UTC, manifests 1970-01-02 00:00 UTC"), "{html}");
    assert!(html.contains("The store is empty."), "{html}");
}
