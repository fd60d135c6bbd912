//! A good plan, and a mutant of it for each rule: the checker must refuse every one, for that reason.

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::config::values::{Percentage, Period};
use crate::graph::{self, Rules};
use crate::inventory::{
    Alias, BlobTable, Body, Depth, Edge, Facts, Gap, History, LayerLink, Link, LooseFile, Parts, Revision,
    Tag, Tally, Target, Upload,
};
use crate::layout::Distribution;
use crate::oci::{Kind, Role};
use crate::plan::build::{Sources, TrashItem, build};
use crate::plan::{Evidence, Reason, RecordMode, SCHEMA};
use crate::policy::{Decision, ExpireReason, KeepReason, Verdict};
use crate::sources::pulls::Pull;
use crate::sources::references::read_references;

mod agreement;
mod sources;
mod tagged;
mod untagged;

const POLICY: &str = "version: 1
protect: { tags: [\"latest\"], repositories: [\"golden\"] }
grace: 1d
limits: { tags: 70%, bytes: 90%, repository_may_empty: false }
classes:
  release: { match: [\"v*\"] }
policies:
  - name: app
    repositories: [\"app\", \"golden\", \"torn\"]
    tags:
      release: { keep: all }
      other: { keep: none }
    untagged: { keep: none }
";

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn name(repository: &str) -> RepositoryName {
    RepositoryName::found(repository).unwrap()
}

fn tag(tag: &str) -> TagName {
    TagName::found(tag).unwrap()
}

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn days_ago(days: i64) -> Timestamp {
    now() - SignedDuration::from_hours(24 * days)
}

/// A store and everything that a plan of it is checked against.
struct Scene {
    inventory: Inventory,
    policy: Policy,
    limits: Limits,
    pins: Vec<Pins>,
    references: References,
    pulls: PullRecord,
    mode: Mode,
    last: Option<Counts>,
    store: Identity,
    trash: Vec<TrashItem>,
    ended: BTreeMap<String, Timestamp>,
    condemned: FxHashMap<Digest, Condemnation>,
    taken: Taken,
    purge_ban: Option<PurgeBan>,
}

impl Scene {
    fn id(&mut self, name: &str) -> BlobId {
        self.inventory.blobs.intern(&digest(name))
    }

    fn position(&self, repository: &str) -> usize {
        self.inventory.repositories.iter().position(|one| one.name.as_str() == repository).unwrap()
    }

    /// A blob with data, ten days old.
    fn blob(&mut self, name: &str) -> BlobId {
        let id = self.id(name);
        self.inventory.blobs.set_present(id, true);
        self.inventory.blobs.measure(id, 100, days_ago(10));
        id
    }

    fn repository(&mut self, repository: &str) -> &mut Repository {
        let found = self.inventory.repositories.iter().position(|one| one.name.as_str() == repository);
        let index = found.unwrap_or_else(|| {
            self.inventory.repositories.push(Repository {
                name: name(repository),
                tags: Vec::new(),
                revisions: Vec::new(),
                layers: Vec::new(),
                aliases: Vec::new(),
                signatures: Vec::new(),
                uploads: Vec::new(),
                parts: Parts { layers: true, manifests: true, uploads: true },
                pinned: false,
            });
            self.inventory.repositories.len() - 1
        });
        &mut self.inventory.repositories[index]
    }

    fn layer(&mut self, repository: &str, layer: &str) {
        let id = self.blob(layer);
        let link = LayerLink::new(id, Link::Whole, Some(days_ago(10)));
        self.repository(repository).layers.push(link);
    }

    /// A manifest with these layers, or with these manifests below it, about this subject.
    fn manifest(&mut self, repository: &str, manifest: &str, below: &[(&str, Role)], subject: Option<&str>) {
        let id = self.blob(manifest);
        for (layer, _) in below.iter().filter(|(_, role)| *role == Role::Layer) {
            self.layer(repository, layer);
        }
        let edges =
            below.iter().map(|(name, role)| Edge { digest: self.id(name), role: *role, foreign: false });
        let references = edges.collect();
        let subject = subject.map(|subject| self.id(subject));
        let facts = Facts { kind: Kind::Image, media_type: None, references, subject, size: 100 };
        self.inventory.manifests.insert(id, Body::Read(facts));
        let revision = Revision {
            digest: id,
            link: Link::Whole,
            pushed: Some(days_ago(10)),
            changed: Some(days_ago(10)),
        };
        self.repository(repository).revisions.push(revision);
    }

    fn tag(&mut self, repository: &str, name: &str, manifest: &str) {
        let id = self.id(manifest);
        self.repository(repository).tags.push(Tag {
            name: tag(name),
            target: Target::Manifest(id),
            tagged: Some(days_ago(10)),
            changed: Some(days_ago(10)),
            size: 71,
            md5: None,
            history: Some(vec![History { digest: id, size: None }]),
        });
    }

    fn new() -> Self {
        let inventory = Inventory {
            depth: Depth::Names,
            listed_at: now(),
            blobs: BlobTable::default(),
            repositories: Vec::new(),
            manifests: FxHashMap::default(),
            created: FxHashMap::default(),
            gaps: Vec::new(),
            temporary: Vec::new(),
            signature_links: Tally::default(),
            foreign: Tally::default(),
            own_state: Tally::default(),
            pull_through_cache: false,
            beside: None,
            directories: 0,
            assets: None,
        };
        let policy = Policy::parse(POLICY, "policy.yaml").unwrap();
        let limits = Limits::of(&policy);
        let store = Identity { url: "file:///registry".into(), fingerprint: "inode 7".into() };
        let mut scene = Self {
            inventory,
            policy,
            limits,
            pins: Vec::new(),
            references: References::default(),
            pulls: PullRecord::default(),
            mode: Mode::Offline,
            last: None,
            store,
            trash: Vec::new(),
            ended: BTreeMap::from([("r".to_owned(), days_ago(300))]),
            condemned: FxHashMap::default(),
            taken: Taken::default(),
            purge_ban: None,
        };
        scene.fill();
        scene
    }

    fn fill(&mut self) {
        let layers = |names: &'static [&'static str]| -> Vec<(&str, Role)> {
            names.iter().map(|name| (*name, Role::Layer)).collect()
        };
        self.manifest("app", "M1", &layers(&["C1", "L1", "shared"]), None);
        self.tag("app", "v1", "M1");
        self.tag("app", "latest", "M1");
        self.manifest("app", "child", &layers(&["LC"]), None);
        self.manifest("app", "index", &[("child", Role::Manifest)], None);
        self.tag("app", "v2", "index");
        self.manifest("app", "sbom", &layers(&["LS"]), Some("M1"));
        let follower = format!("sha256-{}.sig", digest("M1").hex());
        self.manifest("app", "signature", &layers(&["LG"]), None);
        self.tag("app", &follower, "signature");
        // What goes: a tag with its manifest and what belongs to it, an untagged one, an orphan with a link and one without.
        self.manifest("app", "M2", &layers(&["C2", "L2", "shared"]), None);
        self.tag("app", "old", "M2");
        self.manifest("app", "sbom2", &layers(&["LS2"]), Some("M2"));
        self.manifest("app", "untagged", &layers(&["LU"]), None);
        self.layer("app", "linked orphan");
        self.blob("orphan");
        // Nobody has a policy for it.
        self.manifest("other", "M3", &layers(&["L3", "L2"]), None);
        self.tag("other", "x", "M3");
        self.manifest("golden", "M4", &layers(&["L4"]), None);
        self.tag("golden", "x", "M4");
        // A manifest that nobody can read.
        self.manifest("torn", "garbage", &layers(&["LT"]), None);
        let id = self.id("garbage");
        self.inventory.manifests.insert(id, Body::Unreadable("no JSON".into()));
        self.layer("torn", "LT2");
        self.tag("torn", "x", "garbage");
        self.manifest("torn", "M5", &[], None);
        let torn = self.repository("torn");
        torn.pinned = true;
        let gap = Gap { repository: Some(name("torn")), key: "garbage".into(), why: "no JSON".into() };
        self.inventory.gaps.push(gap);
        let files = ["data", "startedat"]
            .map(|part| loose(&format!("docker/registry/v2/repositories/app/_uploads/u/{part}")));
        self.repository("app").uploads.push(Upload { id: "u".into(), files: files.to_vec() });
        self.inventory.temporary.push(loose(LEFTOVER));
        let mut repositories = std::mem::take(&mut self.inventory.repositories);
        repositories.sort_by(|a, b| a.name.cmp(&b.name));
        self.inventory.repositories = repositories;
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            policy: Some(&self.policy),
            grace: self.limits.grace.as_signed(),
            pins: &self.pins,
            references: &self.references,
            pulls: &self.pulls,
            now: now(),
        }
    }

    fn plan(&self) -> Plan {
        let rules = self.rules();
        let marks = graph::mark(&self.inventory, &rules);
        let sources = Sources {
            inventory: &self.inventory,
            marks: &marks,
            rules: &rules,
            limits: &self.limits,
            mode: self.mode,
            store: &self.store,
            condemned: &self.condemned,
            trash: &self.trash,
            empty_blobs: &[],
            taken: &self.taken,
            purge_ban: self.purge_ban.as_ref(),
        };
        build(&sources, &Distribution)
    }

    fn check(&self, plan: Plan) -> Vec<Refusal> {
        self.check_at(plan, now())
    }

    fn check_at(&self, plan: Plan, now: Timestamp) -> Vec<Refusal> {
        let world = World {
            inventory: &self.inventory,
            store: &self.store,
            policy: Some(&self.policy),
            limits: &self.limits,
            pins: &self.pins,
            condemned: &self.condemned,
            taken: &self.taken,
            purge_ban: self.purge_ban.as_ref(),
            mode: self.mode,
            records: RecordMode::default(),
            last: self.last.as_ref(),
            ended: &self.ended,
            references: &self.references,
            pulls: &self.pulls,
            now,
        };
        check(plan, &world).err().map(|refused| refused.refusals).unwrap_or_default()
    }

    /// The refusals of the good plan with one more step.
    fn with(&self, action: Action) -> Vec<Refusal> {
        let reason = match &action {
            Action::Untag { .. } | Action::DeleteManifest { .. } => Reason::Policy(expired()),
            _ => Reason::Unreferenced,
        };
        self.with_step(Step { action, evidence: Evidence { reason, changed: None, listed: None } })
    }

    fn with_step(&self, step: Step) -> Vec<Refusal> {
        let mut plan = self.plan();
        plan.steps.push(step);
        plan.steps.sort_by_key(|step| step.action.stage());
        self.check(plan)
    }
}

const LEFTOVER: &str =
    "docker/registry/v2/repositories/app/_layers/link.0198b2a4-7c1d-7e55-9a3b-6a0a4a4b0c11.tmp";

fn loose(key: &str) -> LooseFile {
    LooseFile { key: key.into(), size: 9, modified: days_ago(10), changed: days_ago(10) }
}

fn expired() -> Decision {
    Decision { verdict: Verdict::Expire(ExpireReason::Subject), policy: Some("app".into()), class: None }
}

fn sweep(name: &str) -> Action {
    Action::Sweep { digest: digest(name), size: 100, manifest: false }
}

fn unlink(repository: &str, layer: &str) -> Action {
    Action::Unlink { repository: name(repository), digest: digest(layer) }
}

fn delete(repository: &str, manifest: &str) -> Action {
    let (repository, digest) = (name(repository), digest(manifest));
    Action::DeleteManifest { repository, digest, histories: Vec::new(), signatures: Vec::new() }
}

fn untag(repository: &str, name_of_tag: &str) -> Action {
    Action::Untag { repository: name(repository), tag: tag(name_of_tag), target: None, history: Vec::new() }
}

/// Exactly unsafe steps, and one of them for this reason.
fn assert_unsafe(refusals: &[Refusal], reason: &str, what: &str) {
    assert!(!refusals.is_empty(), "{what}: it was let through");
    let mut found = false;
    for refusal in refusals {
        match refusal {
            Refusal::Unsafe { why, .. } => found |= why.contains(reason),
            other => panic!("{what}: {other}"),
        }
    }
    assert!(found, "{what}: none says {reason:?}: {refusals:#?}");
}

#[test]
fn the_plan_that_the_mutants_are_made_of_is_good() {
    let scene = Scene::new();
    let plan = scene.plan();
    let steps: Vec<String> = plan.steps.iter().map(|step| step.action.name().to_owned()).collect();
    for (action, count) in [("untag", 1), ("delete-manifest", 3), ("unlink", 5), ("sweep", 8), ("abandon", 2)]
    {
        assert_eq!(steps.iter().filter(|name| *name == action).count(), count, "{action}: {:#?}", plan.steps);
    }
    assert_eq!(scene.check(plan), []);
}

#[test]
fn a_step_that_takes_what_something_needs_is_refused() {
    let scene = Scene::new();
    let follower = format!("sha256-{}.sig", digest("M1").hex());
    for (action, reason) in [
        (sweep("M1"), "stays and needs it"),
        (sweep("L1"), "stays and needs it"),
        (sweep("LC"), "stays and needs it"),
        (sweep("L2"), "stays and needs it"),
        (sweep("L3"), "stays and needs it"),
        (sweep("LS"), "stays and needs it"),
        (sweep("LG"), "stays and needs it"),
        (unlink("app", "L1"), "stays and needs it"),
        (unlink("app", "shared"), "stays and needs it"),
        (unlink("other", "L2"), "stays and needs it"),
        (delete("app", "M1"), "points to it"),
        (delete("app", "index"), "points to it"),
        (delete("app", "signature"), "points to it"),
        (delete("app", "child"), "stays and needs it"),
        (delete("app", "sbom"), "it is a referrer of"),
        (untag("app", &follower), "which stays"),
        (untag("app", "latest"), "is protected"),
        (untag("golden", "x"), "is protected"),
        (untag("other", "x"), "no policy matches other"),
        (delete("other", "M3"), "points to it"),
        (sweep("garbage"), "stays and needs it"),
        (sweep("LT"), "could not be read"),
        (sweep("LT2"), "could not be read"),
        (unlink("torn", "LT2"), "could not be read"),
        (delete("torn", "M5"), "could not be read"),
        (untag("torn", "x"), "could not be read"),
        (Action::RemoveRepository { repository: name("app") }, "is not empty"),
        (Action::RemoveRepository { repository: name("other") }, "is not empty"),
        (Action::RemoveRepository { repository: name("torn") }, "is not empty"),
        (sweep("never seen"), "not in the store"),
        (unlink("nowhere", "L1"), "not in the store"),
        (delete("nowhere", "M1"), "not in the store"),
        (Action::RemoveRepository { repository: name("nowhere") }, "not in the store"),
    ] {
        let what = action.to_string();
        let mut refusals = scene.with(action);
        // To take the last tag is refused as well, and that is another rule's test.
        refusals.retain(|refusal| !matches!(refusal, Refusal::Empties { .. }));
        assert_unsafe(&refusals, reason, &what);
    }
}

#[test]
fn the_order_is_checked() {
    let scene = Scene::new();
    let mut plan = scene.plan();
    let last = plan.steps.len() - 1;
    plan.steps.swap(0, last);
    assert_unsafe(&scene.check(plan), "must come before", "first and last swapped");
    let mut plan = scene.plan();
    let manifest =
        plan.steps.iter().position(|step| matches!(step.action, Action::DeleteManifest { .. })).unwrap();
    let step = plan.steps.remove(manifest);
    plan.steps.push(step);
    assert_unsafe(&scene.check(plan), "must come before", "a manifest after its blobs");
}

#[test]
fn a_referrer_that_is_left_holds_its_own_layers_when_its_subject_goes() {
    let scene = Scene::new();
    let mut plan = scene.plan();
    plan.steps.retain(
        |step| !matches!(&step.action, Action::DeleteManifest { digest: one, .. } if *one == digest("sbom2")),
    );
    assert_unsafe(&scene.check(plan), "stays and needs it", "a manifest left out of the plan");
}

#[test]
fn keys_that_lead_elsewhere_are_refused() {
    let scene = Scene::new();
    let purge = |place: &str, digest: Option<Digest>| Action::Purge {
        run: "r".into(),
        place: place.into(),
        digest,
        size: 1,
    };
    let (l1, hex) = (digest("L1"), digest("L1").hex());
    let place = format!("trash/r/blobs/sha256/{}/{hex}", &hex[..2]);
    assert_eq!(scene.with(purge(&place, Some(l1))), []);
    assert_eq!(scene.with(purge("trash/r/files/docker/registry/v2/x", None)), []);
    let heal = |place: &str| Action::Heal { run: "r".into(), place: place.into(), digest: l1, size: 1 };
    assert_eq!(scene.with(heal(&place)), []);
    let data = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    for action in [
        purge(&format!("../{data}"), Some(l1)),
        purge(&format!("../{data}"), None),
        purge(&format!("trash/r/files/../../../../{data}"), None),
        purge(&place, None),
        purge(&place, Some(digest("L2"))),
        purge(&place.replace("/r/", "/another/"), Some(l1)),
        purge("runs/r/plan.json", None),
        purge("", None),
        heal(&format!("../{data}")),
        heal("trash/r/files/x"),
        heal(&place.replace("/r/", "/../r/")),
    ] {
        let what = action.to_string();
        assert_unsafe(&scene.with(action), "is no place in the trash", &what);
    }
    for key in [
        ".regsweep/runs",
        "docker/registry/v2/../../../etc",
        "docker/registry/v2",
        "",
        "docker/registry/v2//blobs/x",
    ] {
        assert_unsafe(
            &scene.with(Action::RemoveDirectory { key: key.into() }),
            "no directory of the registry",
            key,
        );
    }
    for (keys, reason) in [
        (vec![data.as_str()], "is neither of an upload nor a leftover"),
        (vec![LEFTOVER, data.as_str()], "is neither of an upload nor a leftover"),
        (vec!["../../etc/passwd"], "is neither of an upload nor a leftover"),
        (vec!["docker/registry/v2/repositories/app/_uploads/u/startedat"], "belongs to an upload"),
    ] {
        let action = Action::Abandon { files: keys.iter().map(|key| loose(key)).collect() };
        assert_unsafe(&scene.with(action), reason, keys[0]);
    }
}

#[test]
fn a_manifest_goes_by_a_decision_or_with_something_that_goes() {
    let mut scene = Scene::new();
    // Kept for no other reason than the policy's.
    scene.policy =
        Policy::parse(&POLICY.replace("untagged: { keep: none }", "untagged: { keep: all }"), "p").unwrap();
    assert_eq!(scene.check(scene.plan()), []);
    let along = |reason| Step {
        action: delete("app", "untagged"),
        evidence: Evidence { reason, changed: None, listed: None },
    };
    assert_unsafe(
        &scene.with_step(along(Reason::Along)),
        "nothing goes that it belongs to",
        "along with nothing",
    );
    assert_unsafe(
        &scene.with_step(along(Reason::Unreferenced)),
        "no decision of the policy",
        "for no reason",
    );
    let keep = Decision { verdict: Verdict::Keep(KeepReason::NoPolicy), policy: None, class: None };
    assert_unsafe(&scene.with_step(along(Reason::Policy(keep))), "the decision in it is to keep", "kept");
    let step = Step {
        action: untag("app", "v1"),
        evidence: Evidence { reason: Reason::Along, changed: None, listed: None },
    };
    assert_unsafe(&scene.with_step(step), "no decision of the policy", "a tag for no reason");
}

#[test]
fn what_is_young_is_refused_by_what_the_store_says_and_not_by_the_plan() {
    let late = Some(days_ago(0));
    let mut scene = Scene::new();
    let plan = scene.plan();
    let index = scene.position("app");
    let (old, m2) = (tag("old"), digest("M2"));

    let app = &mut scene.inventory.repositories[index];
    app.tags.iter_mut().find(|one| one.name == old).unwrap().changed = late;
    assert_unsafe(&scene.check(plan.clone()), "within the grace", "a young tag");

    let mut scene = Scene::new();
    let id = scene.inventory.blobs.find(&m2).unwrap();
    let app = &mut scene.inventory.repositories[index];
    app.revisions.iter_mut().find(|one| one.digest == id).unwrap().changed = late;
    assert_unsafe(&scene.check(plan.clone()), "within the grace", "a young manifest");

    let mut scene = Scene::new();
    let id = scene.id("linked orphan");
    let app = &mut scene.inventory.repositories[index];
    let layer = app.layers.iter_mut().find(|one| one.digest == id).unwrap();
    layer.look(layer.link(), late);
    assert_unsafe(&scene.check(plan.clone()), "linked within the grace", "a young link");

    let mut scene = Scene::new();
    let id = scene.id("orphan");
    scene.inventory.blobs.measure(id, 100, days_ago(0));
    assert_unsafe(&scene.check(plan), "within the grace", "young data");

    // Nobody asked: what is not known is young.
    let mut scene = Scene::new();
    let id = scene.id("of an unknown age");
    scene.inventory.blobs.set_present(id, true);
    assert_unsafe(&scene.with(sweep("of an unknown age")), "within the grace", "an unknown age");

    let scene = Scene::new();
    let mut plan = scene.plan();
    for step in &mut plan.steps {
        if let Action::Abandon { files } = &mut step.action {
            files[0].modified = days_ago(3);
            files[0].changed = days_ago(3);
        }
    }
    assert_unsafe(&scene.check(plan), "within the grace", "an upload of three days ago");
}

#[test]
fn what_a_restore_brought_back_is_refused() {
    let pins = |until| Pins {
        until,
        tags: vec![(name("app"), tag("old"))],
        revisions: vec![(name("app"), digest("M2"))],
        blobs: vec![digest("orphan")],
    };
    let mut scene = Scene::new();
    let plan = scene.plan();
    scene.pins = vec![pins(now() + SignedDuration::from_hours(1))];
    let refusals = scene.check(plan.clone());
    assert_unsafe(&refusals, "a restore brought it back", "pinned");
    let steps: Vec<&Step> = refusals
        .iter()
        .filter_map(|refusal| match refusal {
            Refusal::Unsafe { step, .. } => plan.steps.get(*step),
            _ => None,
        })
        .collect();
    for action in ["untag", "delete-manifest", "sweep"] {
        assert!(steps.iter().any(|step| step.action.name() == action), "{action}: {refusals:#?}");
    }
    assert_eq!(scene.check(scene.plan()), [], "the planner knows of pins");
    scene.pins = vec![pins(now())];
    assert_eq!(scene.check(plan), [], "a pin whose time is over");
}

#[test]
fn a_tag_that_points_to_what_nobody_can_read_holds_its_repository() {
    let mut scene = Scene::new();
    let plan = scene.plan();
    let orphan = scene.id("orphan");
    scene.inventory.manifests.insert(orphan, Body::Unreadable("no JSON".into()));
    scene.tag("app", "v3", "orphan");
    assert_unsafe(&scene.check(plan), "could not be read", "a stray tag");
    assert_eq!(scene.check(scene.plan()), []);
}

#[test]
fn a_gap_of_the_whole_store_holds_every_blob() {
    let mut scene = Scene::new();
    let plan = scene.plan();
    scene.inventory.gaps.push(Gap { repository: None, key: "link".into(), why: "a symbolic link".into() });
    let refusals = scene.check(plan.clone());
    assert_unsafe(&refusals, "something of the store could not be listed", "a gap");
    let removals = plan.steps.iter().filter(|step| matches!(step.action.stage(), 4..=7)).count();
    assert_eq!(refusals.len(), removals.min(NAMED), "every one of them: {refusals:#?}");
    for repository in &mut scene.inventory.repositories {
        repository.pinned = true;
    }
    assert_eq!(scene.check(scene.plan()), []);
}

#[test]
fn an_alias_holds_what_it_stands_for() {
    let mut scene = Scene::new();
    let sha512 = Digest::from_parts("sha512", &"ab".repeat(64)).unwrap();
    let (alias, target) = (scene.inventory.blobs.intern(&sha512), scene.id("orphan"));
    let m1 = scene.id("M1");
    let Some(Body::Read(facts)) = scene.inventory.manifests.get_mut(&m1) else { panic!("no manifest") };
    let edge = Edge { digest: alias, role: Role::Layer, foreign: false };
    facts.references = facts.references.iter().copied().chain([edge]).collect();
    let plan = scene.plan();
    // In another repository than the manifest's: a reference is by digest, wherever the alias is.
    let link = Alias { alias, target: Some(target), size: 71, changed: Some(days_ago(10)) };
    scene.repository("other").aliases.push(link);
    assert_unsafe(&scene.check(plan), "stays and needs it", "the blob behind an alias");
    assert_eq!(scene.check(scene.plan()), []);
}

#[test]
fn the_signature_of_a_manifest_goes_with_it_and_not_before() {
    let mut scene = Scene::new();
    let plan = scene.plan();
    let (m1, orphan) = (scene.id("M1"), scene.id("orphan"));
    scene.repository("app").signatures.push((m1, orphan));
    assert_unsafe(&scene.check(plan.clone()), "stays and needs it", "a signature");
    let mut scene = Scene::new();
    let (garbage, orphan) = (scene.id("garbage"), scene.id("orphan"));
    scene.repository("torn").signatures.push((garbage, orphan));
    assert_unsafe(&scene.check(plan), "could not be read", "a signature of what cannot be read");
}

#[test]
fn what_is_missing_and_needed_is_not_purged() {
    let mut scene = Scene::new();
    let l1 = digest("L1");
    let hex = l1.hex();
    let place = format!("trash/r/blobs/sha256/{}/{hex}", &hex[..2]);
    let id = scene.id("L1");
    scene.inventory.blobs.set_present(id, false);
    let purge = Action::Purge { run: "r".into(), place: place.clone(), digest: Some(l1), size: 100 };
    assert_unsafe(&scene.with(purge), "is missing and needed", "purge");
    let item = TrashItem {
        run: "r".into(),
        place,
        digest: Some(l1),
        manifest: false,
        size: 100,
        since: Some(days_ago(300)),
    };
    scene.trash = vec![item];
    let plan = scene.plan();
    assert!(matches!(plan.steps[0].action, Action::Heal { .. }), "{:?}", plan.steps[0]);
    assert_eq!(scene.check(plan), []);
}

/// One refusal, and nothing unsafe.
fn only(refusals: Vec<Refusal>) -> Refusal {
    assert_eq!(refusals.len(), 1, "{refusals:#?}");
    refusals.into_iter().next().unwrap()
}

#[test]
fn a_plan_for_another_world_is_refused() {
    let scene = Scene::new();
    let good = || scene.plan();
    for (url, fingerprint) in [("file:///elsewhere", "inode 7"), ("file:///registry", "inode 8")] {
        let mut plan = good();
        plan.header.store = Identity { url: url.into(), fingerprint: fingerprint.into() };
        assert!(matches!(only(scene.check(plan)), Refusal::OtherStore { .. }));
    }
    for (hours, stale) in [(23, false), (25, true), (-1, true)] {
        let mut plan = good();
        plan.header.listed_at = now() - SignedDuration::from_hours(hours);
        let refusals = scene.check(plan);
        assert_eq!(matches!(refusals.as_slice(), [Refusal::Stale { .. }]), stale, "{hours}: {refusals:?}");
        assert_eq!(refusals.is_empty(), !stale);
    }
    for hash in [None, Some("0".repeat(64))] {
        let mut plan = good();
        plan.header.policy_hash = hash;
        assert_eq!(only(scene.check(plan)), Refusal::OtherPolicy);
    }
    assert_eq!(good().schema, SCHEMA);
}

#[test]
fn a_tag_that_was_moved_since_is_another_tag() {
    let mut scene = Scene::new();
    let plan = scene.plan();
    let (index, other) = (scene.position("app"), scene.id("untagged"));
    let old = tag("old");
    let moved = scene.inventory.repositories[index].tags.iter_mut().find(|one| one.name == old).unwrap();
    moved.target = Target::Manifest(other);
    assert_unsafe(&scene.check(plan.clone()), "was moved since the plan was made", "moved");
    scene.inventory.repositories[index].tags.retain(|one| one.name != old);
    assert_eq!(scene.check(plan), [], "one that is gone is no loss");
}

#[test]
fn data_is_not_swept_beside_a_registry_that_serves() {
    let mut scene = Scene::new();
    let offline = scene.plan();
    scene.mode = Mode::Online;
    assert_eq!(scene.check(scene.plan()), []);
    let refusals = scene.check(offline);
    assert!(matches!(refusals[0], Refusal::Mode(_)), "the plan's own mode: {refusals:?}");
    assert_unsafe(&refusals[1..], "no earlier run saw it unreferenced", "its sweeps");
    // One that says it is for a registry that serves, and sweeps.
    assert_unsafe(&scene.with(sweep("orphan")), "no earlier run saw it unreferenced", "never condemned");
    let condemn = |scene: &mut Scene, days| {
        let condemnation = Condemnation { since: days_ago(days), manifest: false };
        scene.condemned.insert(digest("orphan"), condemnation);
    };
    condemn(&mut scene, 0);
    assert_unsafe(&scene.with(sweep("orphan")), "it was condemned within the grace", "just condemned");
    condemn(&mut scene, 20);
    assert_unsafe(&scene.with(sweep("orphan")), "its data was written since", "written again");
    condemn(&mut scene, 5);
    assert_eq!(scene.check(scene.plan()), [], "the planner takes it");
    assert!(scene.plan().steps.iter().any(|step| step.action == sweep("orphan")));
    let plan = scene.plan();
    let orphan = scene.id("orphan");
    let index = scene.position("app");
    let link = LayerLink::new(orphan, Link::Whole, Some(days_ago(10)));
    scene.inventory.repositories[index].layers.push(link);
    assert_unsafe(&scene.check(plan), "something still names it", "a link that nothing needs");
    assert!(!scene.plan().steps.iter().any(|step| step.action == sweep("orphan")), "the clock begins anew");
    scene.inventory.repositories[index].layers.pop();
    for set in [
        |limits: &mut Limits| limits.grace = crate::config::values::Period::ZERO,
        |limits: &mut Limits| {
            limits.trash_keep = crate::config::values::Period::ZERO;
        },
    ] {
        let mut scene = Scene::new();
        scene.mode = Mode::Online;
        let plan = scene.plan();
        set(&mut scene.limits);
        assert!(matches!(only(scene.check(plan)), Refusal::Mode(_)));
    }
}

#[test]
fn the_store_of_a_pull_through_cache_is_left_alone() {
    let mut scene = Scene::new();
    scene.inventory.pull_through_cache = true;
    let mut plan = scene.plan();
    assert_eq!(only(scene.check(plan.clone())), Refusal::PullThroughCache);
    plan.steps.clear();
    assert_eq!(scene.check(plan.clone()), []);
    scene.limits.pull_through_cache = true;
    assert_eq!(scene.check(scene.plan()), []);
}

#[test]
fn a_plan_beyond_a_limit_is_refused_by_name() {
    let mut scene = Scene::new();
    scene.limits.tags = Percentage::from_percent(10);
    match only(scene.check(scene.plan())) {
        Refusal::TooMuch { what: "tags", accept, .. } => assert_eq!(accept, "tags=13%"),
        other => panic!("{other}"),
    }
    scene.limits.tags = Percentage::from_percent(13);
    assert_eq!(scene.check(scene.plan()), []);
    scene.limits.bytes = Percentage::from_percent(5);
    let accept = match only(scene.check(scene.plan())) {
        Refusal::TooMuch { what: "bytes", accept, .. } => accept,
        other => panic!("{other}"),
    };
    scene.limits.accept(&[accept.parse().unwrap()]);
    assert_eq!(scene.check(scene.plan()), [], "what the refusal advises is enough");
}

#[test]
fn a_repository_is_not_emptied_unasked() {
    let mut scene = Scene::new();
    scene.policy =
        Policy::parse(&POLICY.replace("keep: all", "keep: none").replace("[\"latest\"]", "[\"none\"]"), "p")
            .unwrap();
    scene.limits.tags = Percentage::from_percent(100);
    match only(scene.check(scene.plan())) {
        Refusal::Empties { repository, tags, .. } => assert_eq!((repository, tags), (name("app"), 5)),
        other => panic!("{other}"),
    }
    scene.limits.repository_may_empty = true;
    assert_eq!(scene.check(scene.plan()), []);
}

#[test]
fn a_plan_that_leaves_no_manifest_is_refused() {
    let mut scene = Scene::new();
    scene.inventory.repositories.retain(|one| one.name == name("app"));
    scene.inventory.repositories[0].tags.clear();
    let mut found = false;
    for refusal in scene.check(scene.plan()) {
        found |= matches!(refusal, Refusal::NothingLeft { before: 8 });
        assert!(matches!(refusal, Refusal::NothingLeft { .. } | Refusal::TooMuch { .. }), "{refusal}");
    }
    assert!(found);
}

#[test]
fn a_store_that_shrank_is_refused() {
    let mut scene = Scene::new();
    let saw = scene.plan().header.saw;
    scene.last = Some(saw);
    assert_eq!(scene.check(scene.plan()), []);
    scene.last = Some(Counts { tags: saw.tags * 2 + 20, ..saw });
    assert!(matches!(only(scene.check(scene.plan())), Refusal::Shrunk { what: "tags", .. }));
    scene.last = Some(Counts { manifests: saw.manifests * 2 + 20, repositories: 100, ..saw });
    let what: Vec<&str> = scene
        .check(scene.plan())
        .iter()
        .map(|refusal| match refusal {
            Refusal::Shrunk { what, .. } => *what,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(what, ["repositories", "manifests"]);
    scene.limits.shrink = Percentage::from_percent(100);
    assert_eq!(scene.check(scene.plan()), []);
}

#[test]
fn only_what_a_run_took_is_written_again_and_before_anything_goes() {
    let mut scene = Scene::new();
    let retag = || Action::Retag { repository: name("app"), tag: tag("gone"), target: digest("M1") };
    let relink = || Action::RelinkManifest { repository: name("app"), digest: digest("M9") };
    for action in [retag(), relink()] {
        assert_unsafe(&scene.with(action), "no run took what it would write again", "nobody took it");
    }
    scene.taken.tags.push(crate::plan::TakenTag {
        repository: name("app"),
        tag: tag("gone"),
        target: None,
        from: days_ago(9),
        until: None,
    });
    scene.taken.manifests.insert((name("app"), digest("M9")));
    for action in [retag(), relink()] {
        assert_unsafe(&scene.with(action.clone()), "what comes back may need it", "beside what goes");
        let mut plan = scene.plan();
        plan.steps.retain(|step| step.action.gives_back());
        plan.steps.push(Step {
            action,
            evidence: Evidence { reason: Reason::NeededAgain, changed: None, listed: None },
        });
        assert_eq!(scene.check(plan), []);
    }
}

#[test]
fn what_a_cache_may_answer_for_is_not_purged() {
    let mut scene = Scene::new();
    scene.mode = Mode::Online;
    let item = |kind: &str| {
        let (digest, hex) = (digest("purged"), digest("purged").hex());
        let place = format!("trash/r/{kind}/sha256/{}/{hex}", &hex[..2]);
        let (manifest, since) = (kind == "manifests", Some(days_ago(300)));
        TrashItem { run: "r".into(), place, digest: Some(digest), manifest, size: 100, since }
    };
    scene.trash = vec![item("blobs"), item("manifests")];
    let purges = |scene: &Scene| {
        let plan = scene.plan();
        let count = plan.steps.iter().filter(|step| matches!(step.action, Action::Purge { .. })).count();
        (count, plan.held_back.as_ref().map(|held| held.objects))
    };
    assert_eq!(purges(&scene), (2, None));
    let all = scene.plan();
    let mut ban = PurgeBan { manifests_only: true, why: "a cache has it".into() };
    scene.purge_ban = Some(ban.clone());
    assert_eq!(purges(&scene), (1, Some(1)));
    assert!(matches!(only(scene.check(all.clone())), Refusal::Mode(why) if why == "a cache has it"));
    assert_eq!(scene.check(scene.plan()), []);
    ban.manifests_only = false;
    scene.purge_ban = Some(ban);
    assert_eq!(purges(&scene), (0, Some(2)));
    scene.mode = Mode::Offline;
    assert_eq!(purges(&scene), (2, None), "a registry that is stopped forgets what it has in memory");
}

#[test]
fn trash_stays_as_long_as_it_was_promised_and_until_pushes_have_settled() {
    let mut scene = Scene::new();
    let item = |kind: &str| {
        let (digest, hex) = (digest("purged"), digest("purged").hex());
        let place = format!("trash/r/{kind}/sha256/{}/{hex}", &hex[..2]);
        let manifest = kind == "manifests";
        TrashItem { run: "r".into(), place, digest: Some(digest), manifest, size: 100, since: None }
    };
    let seconds_ago = |seconds: i64| now() - SignedDuration::from_secs(seconds);
    let purged = |scene: &mut Scene, kind: &str, ended: Option<Timestamp>| {
        // The judge looks at a plan that takes it in any case.
        let TrashItem { run, place, digest, size, .. } = item(kind);
        scene.trash = vec![TrashItem { since: ended, ..item(kind) }];
        scene.ended = ended.map(|ended| ("r".to_owned(), ended)).into_iter().collect();
        let planned = scene.plan().steps.iter().any(|step| matches!(step.action, Action::Purge { .. }));
        scene.trash = Vec::new();
        let allowed = scene.with(Action::Purge { run, place, digest, size }).is_empty();
        assert_eq!(planned, allowed, "planner and judge do not agree about {kind} of {ended:?}");
        planned
    };
    scene.limits.trash_keep = Period::from_signed(SignedDuration::from_secs(100));
    scene.limits.settle = Period::from_signed(SignedDuration::from_secs(300));
    assert!(!purged(&mut scene, "blobs", None), "the run may not have ended");
    assert!(!purged(&mut scene, "blobs", Some(seconds_ago(99))));
    assert!(purged(&mut scene, "blobs", Some(seconds_ago(100))));
    assert!(!purged(&mut scene, "manifests", Some(seconds_ago(999))));
    assert!(purged(&mut scene, "manifests", Some(seconds_ago(1000))));
    scene.mode = Mode::Online;
    assert!(
        !purged(&mut scene, "blobs", Some(seconds_ago(299))),
        "a push may be between its look and its link"
    );
    assert!(purged(&mut scene, "blobs", Some(seconds_ago(300))));
}
