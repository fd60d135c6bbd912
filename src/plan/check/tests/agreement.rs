//! Planner and checker read the rules for tags each by itself: on random tags and random rules they say the same.

use proptest::prelude::*;

use super::tagged::forged;
use super::*;
use crate::oci::Created;

/// A tag: its name, the hours since it was written and its manifest pushed, whether it leads there, and what the
/// manifest says of its creation.
type Drawn = (String, Option<i64>, Option<i64>, bool, Said);

/// What the configs below a manifest say: an image has one, an index some.
#[derive(Debug, Clone)]
struct Said {
    configs: Vec<Option<Created>>,
    index: bool,
}

fn said() -> impl Strategy<Value = Said> {
    let config = prop_oneof![
        1 => Just(None),
        1 => Just(Some(Created::Unstated)),
        1 => Just(Some(Created::Unreadable)),
        1 => Just(Some(Created::At(Timestamp::UNIX_EPOCH))),
        8 => (-20_i64..4000).prop_map(|hours| Some(Created::At(now() - SignedDuration::from_hours(hours)))),
    ];
    (proptest::collection::vec(config, 0..3), any::<bool>())
        .prop_map(|(configs, index)| Said { index: index || configs.len() > 1, configs })
}

fn hours() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![1 => Just(None), 12 => (-20_i64..60).prop_map(Some), 30 => (-20_i64..2000).prop_map(Some)]
}

fn tags() -> impl Strategy<Value = Vec<Drawn>> {
    let name = prop_oneof![
        3 => "v[0-2]\\.[0-2]\\.[0-2](-rc\\.[0-9])?(_[ab])?",
        1 => "v(2023|24)[._]0?[1-9]([.-][0-9]{1,2})?(rc1|-b2|dev)?",
        1 => "v2024(0[0-9]|1[0-3])(0[1-3]|3[1-2])(-1)?",
        2 => "v[a-c]?-[0-9]{1,2}(_[0-9ab]{1,2})?",
        1 => "v[0-2a]",
        2 => "pr-[0-9]{1,2}",
        3 => "[a-h]{1,2}",
        1 => (0..6_u32).prop_map(|of| format!("sha256-{}.sig", digest(&format!("manifest {of}")).hex())),
    ];
    let rest = (hours(), hours(), proptest::bool::weighted(0.8), said());
    let tags = proptest::collection::btree_map(name, rest, 1..20);
    tags.prop_map(|tags| {
        tags.into_iter().map(|(name, (a, b, leads, said))| (name, a, b, leads, said)).collect()
    })
}

fn keep(versions: bool) -> impl Strategy<Value = String> {
    let number = || 1_u64..5;
    let simple = prop_oneof![
        number().prop_map(|last| format!("last: {last}")),
        (1_u64..60).prop_map(|days| format!("within: {days}d")),
        (proptest::sample::select(vec!["daily", "weekly", "monthly", "yearly"]), number())
            .prop_map(|(unit, last)| format!("{unit}: {last}")),
        (number(), 1_u64..60).prop_map(|(last, days)| format!("all: {{ last: {last}, within: {days}d }}")),
        (number(), number()).prop_map(|(week, last)| format!("all: {{ weekly: {week}, last: {last} }}")),
        (number(), number()).prop_map(|(last, daily)| format!("last: {last}, daily: {daily}")),
    ];
    let option = || proptest::option::of(1_u64..3);
    let counts = (option(), option(), option()).prop_map(|(majors, minors, patches)| {
        let counts = [("majors", majors), ("minors", minors), ("patches", patches)];
        let counts = counts.into_iter().filter_map(|(what, last)| Some(format!("{what}: {}", last?)));
        match counts.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "within: 3d".to_owned(),
            counts => format!("last: {{ {counts} }}"),
        }
    });
    prop_oneof![
        1 => Just("all".to_owned()),
        2 => Just("none".to_owned()),
        6 => simple.prop_map(|rule| format!("{{ {rule} }}")),
        if versions { 6 } else { 0 } => counts
            .prop_map(move |rule| if versions { format!("{{ {rule} }}") } else { "none".to_owned() }),
    ]
}

fn policy() -> impl Strategy<Value = String> {
    let limit = || proptest::option::weighted(0.3, 0_u64..8);
    let orders = vec!["clock", "semver", "calver", "name", "captures", "[second, 1, third]"];
    let order = proptest::sample::select(orders);
    let release = order.prop_flat_map(|order| {
        (Just(order), keep(["semver", "calver", "captures", "[second, 1, third]"].contains(&order)))
    });
    let clock = proptest::sample::select(vec!["tagged", "pushed", "created"]);
    (clock, release, keep(false), proptest::option::weighted(0.9, keep(false)), limit(), limit()).prop_map(
        |(clock, (order, release), pr, other, min_keep, max_delete)| {
            let other = other.map_or(String::new(), |keep| format!(", other: {{ keep: {keep} }}"));
            let limit = |limit: Option<u64>| limit.map_or("null".to_owned(), |limit| limit.to_string());
            let (min_keep, max_delete) = (limit(min_keep), limit(max_delete));
            format!(
                "version: 1
grace: 1d
limits: {{ tags: 100%, bytes: 100%, repository_may_empty: true }}
protect: {{ tags: [\"b*\"] }}
classes:
  release: {{ match: ['re:v([a-c]*)-?(?P<second>[0-9]+)?(?:[._](?P<third>[0-9a-z]+))?.*'], order_by: {order} }}
  pr: {{ match: [\"pr-*\", \"v0*\", \"a*\"] }}
policies:
  - name: shop
    repositories: [\"shop\"]
    clock: {clock}
    tags: {{ release: {{ keep: {release} }}, pr: {{ keep: {pr} }}{other} }}
    untagged: {{ keep: {{ within: 20d }} }}
    limits: {{ min_keep: {min_keep}, max_delete: {max_delete} }}
"
            )
        },
    )
}

fn scene(policy: &str, tags: &[Drawn]) -> Scene {
    let mut scene = Scene::new();
    scene.policy = Policy::parse(policy, "policy.yaml").unwrap_or_else(|error| panic!("{error}\n{policy}"));
    scene.limits = Limits::of(&scene.policy);
    let at = |hours: Option<i64>| hours.map(|hours| now() - SignedDuration::from_hours(hours));
    for (number, (name, tagged, pushed, leads, said)) in tags.iter().enumerate() {
        // What a signature is about is no signature.
        let signs = name.starts_with("sha256-");
        let manifest = if signs { format!("signature {number}") } else { format!("manifest {number}") };
        below(&mut scene, &manifest, said);
        scene.tag("shop", name, &manifest);
        let shop = scene.repository("shop");
        let (tag, revision) = (shop.tags.last_mut().unwrap(), shop.revisions.last_mut().unwrap());
        (tag.tagged, tag.changed) = (at(*tagged), at(*tagged));
        (revision.pushed, revision.changed) = (at(*pushed), at(*pushed));
        // A signature always leads to its manifest.
        if !leads && !signs {
            revision.link = Link::Missing;
        }
    }
    scene
}

/// A manifest whose configs say this, itself or in the manifests that it lists.
fn below(scene: &mut Scene, manifest: &str, said: &Said) {
    let mut listed = Vec::new();
    for (number, created) in said.configs.iter().enumerate() {
        let (config, child) =
            (format!("config {number} of {manifest}"), format!("child {number} of {manifest}"));
        let id = scene.id(&config);
        scene.inventory.created.extend(created.map(|created| (id, created)));
        if said.index {
            scene.manifest("shop", &child, &[(&config, Role::Config)], None);
        }
        listed.push(if said.index { (child, Role::Manifest) } else { (config, Role::Config) });
    }
    let listed: Vec<(&str, Role)> = listed.iter().map(|(name, role)| (name.as_str(), *role)).collect();
    scene.manifest("shop", manifest, &listed, None);
    let id = scene.id(manifest);
    if said.index
        && let Some(Body::Read(facts)) = scene.inventory.manifests.get_mut(&id)
    {
        facts.kind = Kind::Index;
    }
}

proptest! {
    #[test]
    fn what_the_planner_takes_passes_and_no_tag_that_it_keeps_can_be_added(
        policy in policy(),
        tags in tags(),
        later in 0_i64..24,
    ) {
        let scene = scene(&policy, &tags);
        let plan = scene.plan();
        prop_assert_eq!(scene.check(plan.clone()), []);
        let afterwards = now() + SignedDuration::from_hours(later);
        prop_assert_eq!(scene.check_at(plan.clone(), afterwards), [], "{} hours later", later);
        let gone = |name: &str| {
            let takes = |one: &Step| matches!(&one.action, Action::Untag { repository, tag, .. }
                if repository.as_str() == "shop" && tag.as_str() == name);
            plan.steps.iter().any(takes)
        };
        for (name, ..) in tags.iter().filter(|(name, ..)| !gone(name)) {
            let found = scene.check(forged(&scene, plan.clone(), name));
            prop_assert!(!found.is_empty(), "{} was let through", name);
        }
    }
}
