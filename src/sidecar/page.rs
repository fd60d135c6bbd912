//! The page that the port answers with: what was found at the last look, and what the sidecar has to say beside it.

use jiff::Timestamp;

use super::board::{Ending, Facts, Role};
use crate::report::html::{self, Attention, History, Notice, Page};
use crate::store::Identity;

/// The page as it is now.
pub fn render(facts: &Facts, now: Timestamp) -> String {
    let mut page = match &facts.page {
        Some(page) => Page::clone(page),
        // Before the first look.
        None => Page {
            written: now,
            store: Identity { url: facts.store.clone(), fingerprint: String::new() },
            layout: "not looked at yet".into(),
            address: vec![facts.store.clone()],
            policy: None,
            notices: Vec::new(),
            contents: None,
            planned: None,
            history: History::default(),
        },
    };
    page.written = now;
    page.notices = notices(facts);
    html::page(&page)
}

fn notices(facts: &Facts) -> Vec<Notice> {
    let mut said = Vec::new();
    let mut say = |attention, text: String| said.push(Notice { attention, text });
    if let Some(why) = &facts.policy_problem {
        say(
            Attention::Needed,
            format!("The policy file has an error, so the last good one stays in force: {why}"),
        );
    }
    if let Some(run) = facts.runs.front() {
        let why = run.why.join("; ");
        match run.ending {
            Ending::Refused => say(Attention::Needed, format!("The last run was refused: {why}")),
            Ending::Failed => say(Attention::Needed, format!("The last run failed: {why}")),
            Ending::CutShort => say(Attention::Look, "The last run came to the end of its time".into()),
            Ending::Empty => say(Attention::None, format!("There is nothing to sweep yet: {why}")),
            Ending::Done | Ending::SomeFailed | Ending::Interrupted | Ending::Standby => {}
        }
    }
    if let Some(why) = &facts.look_problem {
        say(Attention::Look, format!("The store was not looked at anew: {why}"));
    }
    if let Some(why) = &facts.events_problem {
        say(Attention::Needed, format!("Events of the registry cannot be written: {why}"));
    }
    let next = facts.next_due.map(|next| next.strftime("%Y-%m-%d %H:%M UTC").to_string());
    match (&facts.role, next) {
        (Role::Running { since }, _) => {
            say(Attention::None, format!("A run is under way since {}", since.strftime("%H:%M UTC")));
        }
        (Role::Standby { holder }, _) => say(Attention::None, format!("Standing by: {holder} does the work")),
        (Role::Ending, _) => say(Attention::None, "The sidecar is about to end".into()),
        (Role::Waiting, Some(next)) => {
            say(Attention::None, format!("The next run begins at {next} ({})", facts.schedule));
        }
        (Role::Waiting, None) => {}
    }
    if let Some(last) = facts.last_event {
        let last = last.strftime("%Y-%m-%d %H:%M UTC");
        say(Attention::None, format!("The registry last told of an event at {last}"));
    }
    said
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sidecar::board::{Board, RunFacts};

    #[test]
    fn the_page_says_what_the_sidecar_knows() {
        let board = Board::of("/var/lib/registry".into(), "every 6h".into());
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        assert!(render(&board.facts(), now).contains("Nobody has looked yet"));
        let mut run = RunFacts::begun(now);
        run.ending = Ending::Refused;
        run.why = vec!["too <much>".into()];
        board.ended(Arc::new(run));
        board.note(|facts| {
            facts.policy_problem = Some("line 3".into());
            facts.next_due = Some(now);
        });
        let page = render(&board.facts(), now);
        for text in [
            "the last good one stays in force: line 3",
            "The last run was refused: too &lt;much&gt;",
            "The next run begins at 2023-11-14 22:13 UTC (every 6h)",
        ] {
            assert!(page.contains(text), "no {text} in {page}");
        }
    }
}
