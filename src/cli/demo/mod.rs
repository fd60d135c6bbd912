//! `regsweep demo`
//!
//! Every command that the walk shows is parsed and carried out as if it had been typed, so what a person reads is what
//! happened.

mod registry;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser as _};

use super::{Cli, CommandResult, Failure, carry_out, data, usage};
use crate::clock::{Clock as _, System};
use crate::exit::Exit;
use crate::report::shell_word;
use crate::store::{Access, Location, ReadStore};
use crate::sweep::journal::RunKind;
use crate::sweep::state;

#[derive(Debug, Clone, Args)]
pub(super) struct DemoArgs {
    /// An empty or new directory; the registry goes to DIR/registry, the policy to DIR/policy.yaml
    #[arg(value_name = "DIR", env = "REGSWEEP_DEMO")]
    pub directory: PathBuf,
}

const POLICY: &str = include_str!("policy.yaml");

/// The image that the demo brings back.
const RESTORED: &str = "shop/web:v1.0.0";

pub(super) async fn run(args: &DemoArgs) -> CommandResult {
    let walk = Walk::prepare(&args.directory)?;
    data(&format!(
        "A registry of an imaginary shop, as distribution writes it, is in {}\n\
         and a policy for it in {}.\n",
        walk.registry.display(),
        walk.policy.display()
    ));
    match walk.through().await? {
        Exit::Done => {
            walk.what_next().await?;
            Ok(Exit::Done)
        }
        other => Ok(other),
    }
}

/// The places of one demo.
struct Walk {
    registry: PathBuf,
    policy: PathBuf,
    plan: PathBuf,
}

impl Walk {
    fn prepare(directory: &Path) -> Result<Self, Failure> {
        let place = directory.display();
        let cannot = |what: &str| format!("cannot {what} {place}: name a directory that can be written to");
        std::fs::create_dir_all(directory).with_context(|| cannot("make the directory")).map_err(usage)?;
        let mut entries = std::fs::read_dir(directory).with_context(|| cannot("read")).map_err(usage)?;
        if entries.next().is_some() {
            return Err(usage(anyhow::anyhow!(
                "{place} is not empty, and the demo writes only to a new or an empty directory: name another one"
            )));
        }
        let walk = Self {
            registry: directory.join("registry"),
            policy: directory.join("policy.yaml"),
            plan: directory.join("plan.json"),
        };
        std::fs::write(&walk.policy, POLICY).with_context(|| cannot("write to")).map_err(usage)?;
        registry::make(&walk.registry, System.now().into())
            .with_context(|| cannot("write to"))
            .map_err(usage)?;
        Ok(walk)
    }

    /// The five steps. Ends at the first one that does not end well.
    async fn through(&self) -> CommandResult {
        let (registry, policy, plan) =
            (self.registry.as_os_str(), self.policy.as_os_str(), self.plan.as_os_str());
        let word = |text: &str| OsString::from(text);
        let steps: [(&str, Vec<OsString>, &str); 6] = [
            (
                "1. Audit: every object of the store in exactly one class. Never writes.",
                vec![word("audit"), registry.into(), word("--policy"), policy.into(), word("--problems")],
                "Nothing refers to what is unreferenced, whatever a policy says. The unreadable manifest could refer to \
                 anything,\nso nothing of its repository will go. The foreign file is none of our business and stays.",
            ),
            (
                "2. Plan: what would go, and which rule decided. Never writes to the store.",
                vec![
                    word("plan"),
                    registry.into(),
                    word("--policy"),
                    policy.into(),
                    word("--offline"),
                    word("--out"),
                    plan.into(),
                ],
                "Releases are counted by version, pull requests go by age. Signatures (sha256-….sig) go with the image that\n\
                 they are about. \"alone\" is what a repository frees by itself: layers that others still use stay.",
            ),
            (
                "3. Run: carry out that plan. --offline says that the registry is stopped or read-only.",
                vec![word("run"), registry.into(), word("--plan"), plan.into(), word("--offline")],
                "The plan was checked again before the first step: another store, another policy or a plan of yesterday would\n\
                 have been refused. What went is in the trash, and every step is in a journal.",
            ),
            (
                "4. Status: the trash, and the last runs. Never writes.",
                vec![word("status"), registry.into()],
                "An interrupted run would stand here too; the next one finishes what it left.",
            ),
            (
                "5. Restore: what can be undone …",
                vec![word("restore"), registry.into()],
                "A run can be undone for as long as its trash is kept.",
            ),
            (
                "   … and one image of it, with all that belongs to it.",
                vec![word("restore"), registry.into(), word(RESTORED)],
                "Both architectures of the release are back, with its signature, its SBOM and its layers. No policy takes\n\
                 them again for a day, so that there is time to change the policy.",
            ),
        ];
        for (title, words, shows) in steps {
            data(&format!("\n{title}\n\n  $ {}\n", command(&words)));
            let typed = std::iter::once(word("regsweep")).chain(words);
            let cli = Cli::try_parse_from(typed).map_err(usage)?;
            // One of the commands is the demo itself, so the future has to be of a known size.
            let exit = Box::pin(carry_out(cli.command)).await?;
            if exit != Exit::Done {
                return Ok(exit);
            }
            data(&format!("\n{shows}\n"));
        }
        Ok(Exit::Done)
    }

    async fn what_next(&self) -> Result<(), Failure> {
        let store = ReadStore::open(&Location::Directory(self.registry.clone()), &Access::DEFAULT)?;
        let runs = state::read(&store).await?.runs;
        let swept = runs.iter().find(|recorded| matches!(recorded.run.kind, RunKind::Sweep(_)));
        let run = swept.map_or("RUN", |recorded| recorded.run.run.as_str());
        let (registry, policy) = (self.registry.as_os_str(), self.policy.as_os_str());
        let line =
            |words: &[&OsStr]| command(&words.iter().map(|word| OsString::from(*word)).collect::<Vec<_>>());
        let [audit, plan, check, restore] = ["audit", "plan", "check", "restore"].map(OsStr::new);
        let [p, offline, of_policy] = ["-p", "--offline", "policy"].map(OsStr::new);
        data(&format!(
            "\nThe store is left as it is now, to look around in. What to try next:\n\n\
             \x20 $ {}\n    the policy in plain words\n\
             \x20 $ {}\n    nothing to do now: write \"last: 1\" for releases in the policy, and see what would go. With\n    \
             --accept tags=1% the plan is refused, with advice (exit code 3)\n\
             \x20 $ {}\n    everything that the run took comes back, and stays for a day\n\
             \x20 $ {}\n    your own registry: audit and plan never write to it\n",
            line(&[of_policy, check, policy]),
            line(&[plan, registry, p, policy, offline]),
            line(&[restore, registry, run.as_ref()]),
            line(&[audit, "/var/lib/registry".as_ref()]),
        ));
        Ok(())
    }
}

/// The line to type for these words, with the program by the name it was called by.
fn command(words: &[OsString]) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "regsweep".into());
    let words = std::iter::once(&program).chain(words);
    words.map(|word| shell_word(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_the_demo_has_no_problem_but_its_grace() {
        let policy = crate::policy::Policy::parse(POLICY, "policy.yaml").unwrap();
        let found: Vec<String> = policy.findings().iter().map(ToString::to_string).collect();
        // The demo is not to be waited for, and nobody pushes to it.
        let [grace] = &found[..] else { panic!("{found:#?}") };
        assert!(grace.contains("dangerous: `grace: 0`"), "{grace}");
    }
}
