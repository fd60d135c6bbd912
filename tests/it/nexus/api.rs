//! What a policy lets go is deleted by the repository manager, asked through its REST interface, and no file is touched.

use std::process::Stdio;

use regsweep::policy::Policy;
use serde_json::{Value, json};

use super::rest::{Double, Fault, State as Manager, tag_of};
use super::*;
use crate::crash::{expect, regsweep};
use crate::support::policy;

/// Two releases of each image stay; of the others all, or none.
fn text(others: &str) -> String {
    format!(
        "version: 1\ngrace: 1d\nlimits: {{ tags: 100%, bytes: 100% }}\nclasses:\n  release: {{ match: [\"1.*\"] }}\n\
         policies:\n  - name: all\n    repositories: [\"**\"]\n    tags:\n      release: {{ keep: {{ last: 2 }} }}\n      \
         other: {{ keep: {others} }}\n    untagged: {{ keep: none }}\n"
    )
}

/// A store whose images nobody is pushing, and a manager that lists it.
fn scene(named: bool) -> (Scene, Double) {
    let scene = Scene::of(Era::Mixed, 1);
    let double = Double::start(&scene.truth, named, Vec::new());
    (scene, double)
}

fn job_of_manager<'j>(double: &Double, policy: &'j Policy) -> Job<'j> {
    let sources = vec![double.source("secret")];
    let database = Database { sources, manages: true, ..Database::default() };
    let mut limits = limits(Some(policy));
    limits.no_undo = true;
    Job { database, limits, policy: Some(policy), records: RecordMode::Api, ..job(None, Mode::Online) }
}

fn listed(double: &Double) -> BTreeSet<String> {
    let state = double.state.lock().expect("the state");
    let path = |asset: &Value| format!("{} {}", asset["repository"], asset["path"]).replace("/v2", "v2");
    state.assets.values().flatten().map(path).collect()
}

/// Deletes and tasks that the manager was asked for.
fn changes(double: &Double) -> Vec<String> {
    double.asked().into_iter().filter(|asked| !asked.starts_with("GET")).collect()
}

fn tags(manager: &Manager) -> BTreeSet<String> {
    let all = manager.assets.values().flatten().filter_map(|asset| {
        let image = asset["path"].as_str()?.split("/manifests/").next()?.trim_start_matches('/').to_owned();
        Some(format!("{} {image}:{}", asset["repository"].as_str()?, tag_of(asset)?))
    });
    all.filter(|tag| !tag.contains(":sha256-")).collect()
}

fn store_files(scene: &Scene) -> BTreeMap<String, Vec<u8>> {
    let all = Files::of(&scene.root()).0.into_iter().filter(|(key, _)| !key.starts_with(".regsweep/"));
    all.map(|(key, (bytes, _))| (key, bytes)).collect()
}

#[test]
fn what_a_policy_lets_go_is_deleted_and_no_file_is_touched() {
    for named in [true, false] {
        for (others, collects) in [("all", false), ("none", true)] {
            let (scene, double) = scene(named);
            let policy = policy(&text(others));
            let job = job_of_manager(&double, &policy);
            let before = store_files(&scene);
            let (plan, refusals) = scene.plan(&job);
            assert!(refusals.is_empty(), "{refusals:?}");
            assert!(plan.notes[0].contains("no restore brings it back"), "{:?}", plan.notes);
            let withheld = plan.notes.iter().any(|note| note.contains("none is started"));
            assert_eq!(withheld, !collects, "{:?}", plan.notes);
            assert!(changes(&double).is_empty(), "a plan changed something");
            let (run, executed) = scene.sweep(&job);
            assert!(executed.failed.is_empty() && executed.skipped.is_empty(), "{executed:?}");
            let tags = tags(&double.state.lock().expect("the state"));
            let stays = |tag: &&String| tag.ends_with(":1.2") || tag.ends_with(":1.3") || others == "all";
            assert_eq!(tags.iter().filter(stays).count(), tags.len(), "{tags:?}");
            assert_eq!(tags.len(), 6 * if others == "all" { 3 } else { 2 });
            // The manifest of each tag is there by its digest as well, and no other is but children and referrers.
            let (left, all) = (listed(&double), changes(&double));
            let manifests = left.iter().filter(|path| path.contains("/manifests/sha256:")).count();
            assert_eq!(manifests, 6 * if others == "all" { 2 + 1 + 2 + 1 + 1 } else { 2 }, "{left:#?}");
            let ran: Vec<&str> =
                all.iter().filter_map(|one| one.strip_prefix("POST /nexus/service/rest/v1/tasks/")).collect();
            assert_eq!(ran, if collects { vec!["gc-1/run", "compact-1/run"] } else { vec!["compact-1/run"] });
            assert!(all.last().is_some_and(|last| last.starts_with("POST")), "tasks come last");
            assert_eq!(store_files(&scene), before);
            // Nothing is left to do, although the files are still there.
            let (again, refusals) = scene.plan(&job);
            assert!(again.steps.is_empty() && refusals.is_empty(), "{:?} {refusals:?}", again.steps);
            let undo = wait(async {
                let store = WriteStore::open(&location(&scene.root()), &Access::DEFAULT).expect("the store");
                let caches = Caches::default();
                let means = Means { store: &store, layout: &Nexus, caches: &caches, clock: &scene.clock };
                let session = pipeline::begin(&means, &limits(None)).await.expect("the lease");
                let (wanted, now) = (Wanted::Run(run), scene.clock.now());
                restore::restore(&session.lease, &store, &Nexus, &wanted, "undo", now).await.map(|_| ())
            });
            assert!(undo.unwrap_err().to_string().contains("took anything"));
        }
    }
}

#[test]
fn each_thing_is_looked_at_right_before_it_goes() {
    let (scene, double) = scene(true);
    let policy = policy(&text("all"));
    scene.sweep(&job_of_manager(&double, &policy));
    let asked = double.asked();
    for (index, one) in asked.iter().enumerate() {
        if let Some(target) = one.strip_prefix("DELETE ") {
            let looked = format!("GET {target}");
            assert!(asked[index.saturating_sub(60)..index].contains(&looked), "{target} was not looked at");
        }
    }
}

/// Plans, lets `change` do something to the manager, and carries the plan out.
fn changed_meanwhile(change: impl Fn(&mut Manager) + Sync) -> (Executed, Double) {
    let (scene, double) = scene(true);
    let policy = policy(&text("all"));
    let job = job_of_manager(&double, &policy);
    let store = WriteStore::open(&location(&scene.root()), &Access::DEFAULT).expect("the store");
    let executed = wait(async {
        let caches = Caches::default();
        let means = Means { store: &store, layout: &Nexus, caches: &caches, clock: &scene.clock };
        let session = pipeline::begin(&means, &job.limits).await.expect("the lease");
        let survey =
            pipeline::survey(store.read(), &Nexus, &job, Depth::Names, &scene.clock).await.expect("a look");
        let checked =
            survey.check(survey.plan(store.read(), &Nexus, &job), store.read(), &job).expect("safe");
        change(&mut double.state.lock().expect("the state"));
        let run = session.run.clone();
        pipeline::sweep(&session, &run, checked, &survey, &means, &job, || false).await.expect("a run")
    });
    (executed, double)
}

fn asset<'a>(manager: &'a mut Manager, tag: &str) -> &'a mut Value {
    let all = manager.assets.get_mut("docker-0").expect("assets");
    all.iter_mut()
        .find(|asset| {
            asset["path"].as_str().is_some_and(|path| path.contains("app0/manifests"))
                && tag_of(asset) == Some(tag)
        })
        .expect("the tag")
}

#[test]
fn a_tag_that_was_pushed_again_stays_with_its_image() {
    let (executed, double) = changed_meanwhile(|manager| {
        asset(manager, "1.0")["checksum"]["sha256"] = "ab".repeat(32).into();
    });
    assert!(executed.failed.is_empty(), "{executed:?}");
    let left = &executed.skipped[0];
    assert!(left.step.ends_with("docker-0/team/app0:1.0") && left.why.contains("changed since"), "{left:?}");
    // Manifests of that image wait for the next run: which of them the tag needs is not known any more.
    let held = executed.skipped.iter().filter(|one| one.step.contains("docker-0/team/app0@")).count();
    assert_eq!(held, 2, "{:?}", executed.skipped);
    assert_eq!(executed.count("untag"), 11);
    assert!(tags(&double.state.lock().expect("the state")).contains("docker-0 v2/team/app0:1.0"));
}

#[test]
fn what_is_gone_is_done_and_what_passes_is_asked_again() {
    let (executed, _) = changed_meanwhile(|manager| {
        let gone = asset(manager, "1.1")["id"].clone();
        manager.assets.get_mut("docker-0").expect("assets").retain(|asset| asset["id"] != gone);
        let status = |status| Some(Fault::Status(status));
        // A delete that was carried out and not answered is asked for again, and there is nothing by then.
        manager.trips = [status(503), status(429), Some(Fault::Cut), None, status(404)].into();
    });
    assert!(executed.failed.is_empty(), "{executed:?}");
    let whys: Vec<&str> = executed.skipped.iter().map(|one| one.why.as_str()).collect();
    assert_eq!(whys, ["it is gone already"]);
    assert_eq!(executed.count("untag"), 11);
    assert_eq!(executed.count("delete-manifest"), 12);
}

#[test]
fn who_may_not_delete_is_told_once_and_asks_no_more() {
    for status in [401, 403] {
        let (executed, double) =
            changed_meanwhile(|manager| manager.trips = vec![Some(Fault::Status(status))].into());
        assert_eq!(executed.done.len(), 0, "{executed:?}");
        let why = &executed.failed[0].why;
        assert!(why.contains(&format!("answers {status}: give a user who may delete")), "{why}");
        assert!(!format!("{executed:?}").contains("secret"));
        assert_eq!(changes(&double).len(), 1);
    }
}

#[test]
fn a_manager_that_fails_is_left_alone_after_a_while() {
    let (executed, double) = changed_meanwhile(|manager| {
        manager.trips = vec![Some(Fault::Status(400)); 3].into();
    });
    assert_eq!(changes(&double).len(), 3);
    assert!(executed.failed[2].why.contains("it answers 400"), "{executed:?}");
    assert!(executed.failed[3].why.contains("not tried, since the 3 before it failed"), "{executed:?}");
    assert_eq!(executed.count("delete-manifest"), 0);
}

#[test]
fn a_task_that_is_gone_fails_and_the_rest_is_done() {
    let (executed, _) = changed_meanwhile(|manager| manager.tasks.clear());
    assert_eq!(executed.failed.len(), 1, "{executed:?}");
    assert!(executed.failed[0].why.contains("no such task any more"), "{executed:?}");
    assert_eq!(executed.count("untag"), 12);
}

#[test]
fn an_image_with_a_tag_that_is_not_understood_stays_whole() {
    let whole = |change: &dyn Fn(&mut Manager)| {
        let (scene, double) = scene(true);
        change(&mut double.state.lock().expect("the state"));
        let policy = policy(&text("all"));
        let (_, survey) = scene.survey(&job_of_manager(&double, &policy)).expect("a look");
        let (plan, refusals) = scene.plan(&job_of_manager(&double, &policy));
        assert!(refusals.is_empty(), "{refusals:?}");
        let of_image =
            plan.steps.iter().filter(|step| step.action.to_string().contains("docker-0/team/app0"));
        assert_eq!(of_image.count(), 0, "{:?}", plan.steps);
        assert!(!plan.steps.is_empty() && !survey.inventory.pins_everything());
        assert!(survey.inventory.gaps[0].why.contains("lists this tag with other assets"));
    };
    // Its manifest is nowhere in the store.
    whole(&|manager| asset(manager, "1.2")["checksum"]["sha256"] = "cd".repeat(32).into());
    // Two components have the same tag.
    whole(&|manager| {
        let mut twice = asset(manager, "1.2").clone();
        twice["id"] = "twice".into();
        manager.assets.get_mut("docker-0").expect("assets").push(twice);
    });
}

#[test]
fn without_a_word_nothing_goes_for_good_and_a_forged_plan_is_refused() {
    let (scene, double) = scene(true);
    let policy = policy(&text("all"));
    let mut job = job_of_manager(&double, &policy);
    job.limits.no_undo = false;
    let (plan, refusals) = scene.plan(&job);
    assert_eq!(refusals, [Refusal::NoUndo]);
    job.limits.no_undo = true;
    job.mode = Mode::Offline;
    assert!(scene.plan(&job).1[0].to_string().contains("leave out --offline"));
    job.mode = Mode::Online;
    let (store, survey) = scene.survey(&job).expect("a look");
    let refused = |change: &dyn Fn(&mut Plan), job: &Job<'_>| {
        let mut plan = plan.clone();
        change(&mut plan);
        let (_, survey) = scene.survey(job).expect("a look");
        survey
            .check(plan, &store, job)
            .unwrap_err()
            .refusals
            .iter()
            .map(ToString::to_string)
            .collect::<String>()
    };
    drop(survey);
    let other_id = |plan: &mut Plan| {
        plan.steps[0].evidence.listed.as_mut().expect("listed").component = Some("component-other".into());
    };
    assert!(refused(&other_id, &job).contains("is not what the repository manager lists now"));
    let unlisted = |plan: &mut Plan| plan.steps[0].evidence.listed = None;
    assert!(refused(&unlisted, &job).contains("is not what the repository manager lists now"));
    let task = |id: &str, kind: &str| {
        let (id, kind) = (id.to_owned(), kind.to_owned());
        move |plan: &mut Plan| {
            let last = plan.steps.last_mut().expect("a step");
            last.action = Action::RunTask { task: id.clone(), name: "forged".into(), kind: kind.clone() };
        }
    };
    assert!(refused(&task("backup", "db.backup"), &job).contains("has no such task"));
    // Referrers have no tag and stay.
    assert!(
        refused(&task("gc-1", "repository.docker.gc"), &job).contains("would delete manifests without a tag")
    );
    let file = |plan: &mut Plan| {
        let last = plan.steps.last_mut().expect("a step");
        last.action = Action::Abandon { files: Vec::new() };
    };
    assert!(refused(&file, &job).contains("no file is touched"));
    // The same plan is none for a run that touches files.
    let orphans = Job { records: RecordMode::Orphans, ..job_of(scene.exports()) };
    let said = refused(&|_| (), &Job { policy: Some(&policy), limits: limits(Some(&policy)), ..orphans });
    assert!(said.contains("no repository manager is to do it in this run"), "{said}");
}

#[test]
fn a_run_that_is_killed_is_closed_and_the_next_one_ends_it() {
    let (scene, double) = scene(true);
    let path = |name: &str| scene.directory.path().join(name).display().to_string();
    // The command has the clock of this machine, and the store has just been written.
    std::fs::write(path("policy.yaml"), text("all").replace("grace: 1d", "grace: 1s")).expect("the policy");
    let age =
        || std::fs::metadata(path("policy.yaml")).expect("the policy").modified().expect("a time").elapsed();
    while age().is_ok_and(|age| age < std::time::Duration::from_secs(2)) {
        std::thread::yield_now();
    }
    std::fs::write(path("password"), "admin:secret\n").expect("the credentials");
    let command = |accept: &[&str]| {
        let mut command = regsweep();
        command.args(["run", &scene.root().display().to_string(), "--json", "-p", &path("policy.yaml")]);
        command.args(["--nexus-mode", "api", "--nexus-url", &double.url]);
        command.args(["--nexus-credentials", &path("password")]).args(accept);
        command
    };
    let refused = expect(&command(&[]).output().expect("regsweep runs"), 3);
    assert!(
        refused["refusals"][0].as_str().is_some_and(|why| why.contains("--accept no_undo")),
        "{refused:#}"
    );
    // The fourth delete is never answered.
    double.state.lock().expect("the state").trips = [None, None, None, Some(Fault::Hang)].into();
    let mut child = command(&["--accept", "no_undo"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("regsweep runs");
    while changes(&double).len() < 4 {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before");
        std::thread::yield_now();
    }
    child.kill().expect("a child");
    child.wait().expect("a child");
    let before = tags(&double.state.lock().expect("the state"));
    let within = |directory: PathBuf| {
        std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path())
    };
    let segments = within(scene.root().join(".regsweep/runs")).flat_map(|run| within(run.join("journal")));
    let announced: String = segments.map(|path| std::fs::read_to_string(path).expect("a journal")).collect();
    assert!(announced.matches("intent").count() >= 4, "{announced}");
    assert!(!announced.contains("secret"));
    let output = command(&["--accept", "no_undo"]).output().expect("regsweep runs");
    let report = expect(&output, 0);
    assert_eq!(report["recovered"].as_array().map(Vec::len), Some(1), "{report:#}");
    let after = tags(&double.state.lock().expect("the state"));
    assert_eq!((before.len(), after.len()), (27, 18));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Compact blob store") && !said.contains("secret"), "{said}");
    let third = expect(&command(&["--accept", "no_undo"]).output().expect("regsweep runs"), 0);
    assert_eq!(third["planned_steps"], json!(0), "{third:#}");
}
