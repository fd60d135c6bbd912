use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(rhythm: &str, jitter: u8, window: Option<&str>) -> Schedule {
    let rhythm = match rhythm.parse() {
        Ok(period) => Rhythm::every(period).unwrap(),
        Err(_) => Rhythm::cron(rhythm).unwrap(),
    };
    Schedule {
        rhythm,
        jitter: Percentage::from_percent(jitter),
        window: window.map(|text| text.parse().unwrap()),
    }
}

#[test]
fn the_run_after_one() {
    for (rhythm, jitter, window, last, draw, next) in [
        ("6h", 0, None, "2026-03-01T02:00:00Z", 0.0, "2026-03-01T08:00:00Z"),
        ("6h", 10, None, "2026-03-01T02:00:00Z", 1.0, "2026-03-01T08:36:00Z"),
        ("6h", 10, None, "2026-03-01T02:00:00Z", 0.5, "2026-03-01T08:18:00Z"),
        ("6h", 0, Some("01:00-06:00"), "2026-03-01T02:00:00Z", 0.0, "2026-03-02T01:00:00Z"),
        ("2h", 0, Some("01:00-06:00"), "2026-03-01T02:00:00Z", 0.0, "2026-03-01T04:00:00Z"),
        // Jitter stays in the window.
        ("2h", 100, Some("01:00-06:00"), "2026-03-01T03:00:00Z", 1.0, "2026-03-01T06:00:00Z"),
        ("0 2 * * *", 0, None, "2026-03-01T02:00:00Z", 0.0, "2026-03-02T02:00:00Z"),
        ("0 2 * * *", 0, None, "2026-03-01T01:59:59Z", 0.0, "2026-03-01T02:00:00Z"),
        ("0 2 * * *", 10, None, "2026-03-01T02:00:00Z", 1.0, "2026-03-02T04:24:00Z"),
        ("30 1 * * 0", 0, None, "2026-03-01T02:00:00Z", 0.0, "2026-03-08T01:30:00Z"),
        ("0 0 29 2 *", 0, None, "2026-03-01T00:00:00Z", 0.0, "2028-02-29T00:00:00Z"),
        ("0 12 * * *", 0, Some("22:00-04:00"), "2026-03-01T02:00:00Z", 0.0, "2026-03-01T22:00:00Z"),
    ] {
        let found = schedule(rhythm, jitter, window).after(at(last), draw);
        assert_eq!(found, at(next), "{rhythm} {jitter}% {window:?} after {last}");
    }
}

#[test]
fn what_is_no_schedule() {
    for text in ["", "0 2 * *", "0 2 * * * *", "61 2 * * *", "0 25 * * *", "tomorrow", "@reboot"] {
        assert!(matches!(Rhythm::cron(text), Err(ScheduleError::Cron { .. })), "{text}");
    }
    assert!(Rhythm::cron("0 0 30 2 *").is_err());
    assert_eq!(
        Rhythm::every(Period::ZERO).unwrap_err().to_string(),
        "`0` is no interval: write one such as 6h"
    );
}

#[test]
fn the_first_run() {
    let now = at("2026-03-01T12:00:00Z");
    // Nothing is known: an interval is over, a time of the day has not come.
    assert_eq!(schedule("6h", 10, None).resume(None, now, 0.5).next_due, now);
    assert_eq!(
        schedule("6h", 0, Some("01:00-06:00")).resume(None, now, 0.5).next_due,
        at("2026-03-02T01:00:00Z")
    );
    let daily = schedule("0 2 * * *", 0, None);
    let agenda = daily.resume(None, now, 0.5);
    assert_eq!(agenda.next_due, at("2026-03-02T02:00:00Z"));
    // Nobody was there at that time: it is due at the next start.
    let late = daily.resume(Some(&agenda), at("2026-03-03T09:00:00Z"), 0.5);
    assert_eq!(late.next_due, at("2026-03-03T09:00:00Z"));
    // Unless the day has no room for it.
    let nightly = schedule("0 2 * * *", 0, Some("01:00-06:00"));
    let agenda = nightly.resume(None, now, 0.5);
    let late = nightly.resume(Some(&agenda), at("2026-03-03T09:00:00Z"), 0.5);
    assert_eq!(late.next_due, at("2026-03-04T01:00:00Z"));
}

#[test]
fn a_run_that_dies_is_not_begun_again_at_once() {
    let schedule = schedule("6h", 0, None);
    let mut now = at("2026-03-01T00:00:00Z");
    let mut agenda = schedule.resume(None, now, 0.0);
    let mut waits = Vec::new();
    for _ in 0..9 {
        // Killed, and started again in the same moment.
        let begun = schedule.begin(&agenda, now, "one");
        agenda = schedule.resume(Some(&begun), now, 0.0);
        assert!(agenda.next_due > now);
        waits.push(agenda.next_due.duration_since(now).as_mins());
        now = agenda.next_due;
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 360, 360]);
    let begun = schedule.begin(&agenda, now, "one");
    let ended = schedule.end(&begun, at("2026-03-02T00:00:00Z"), true, 0.0);
    assert_eq!((ended.failures, ended.last_success), (0, Some(at("2026-03-02T00:00:00Z"))));
}

#[test]
fn what_was_missed_during_a_run_is_left_out() {
    let schedule = schedule("0 * * * *", 0, None);
    let now = at("2026-03-01T02:00:00Z");
    let begun = schedule.begin(&schedule.resume(None, now, 0.0), now, "one");
    let ended = schedule.end(&begun, at("2026-03-01T05:10:00Z"), true, 0.0);
    assert_eq!(ended.next_due, at("2026-03-01T06:00:00Z"));
    let ended = schedule.end(&begun, at("2026-03-01T02:10:00Z"), false, 0.0);
    assert_eq!((ended.next_due, ended.last_success), (at("2026-03-01T03:00:00Z"), None));
}

#[test]
fn another_schedule_counts_from_the_last_run() {
    let now = at("2026-03-01T02:00:00Z");
    let monthly = schedule("30d", 0, None);
    let begun = monthly.begin(&monthly.resume(None, now, 0.0), now, "one");
    let ended = monthly.end(&begun, now, true, 0.0);
    let hourly = schedule("1h", 0, None);
    assert_eq!(
        hourly.resume(Some(&ended), at("2026-03-01T02:30:00Z"), 0.0).next_due,
        at("2026-03-01T03:00:00Z")
    );
    let late = at("2026-03-05T02:30:00Z");
    assert_eq!(hourly.resume(Some(&ended), late, 0.0).next_due, late);
}

#[test]
fn a_clock_that_was_wrong_for_a_while_costs_one_interval_at_most() {
    let schedule = schedule("6h", 10, None);
    let wrong = at("2031-01-01T00:00:00Z");
    let begun = schedule.begin(&schedule.resume(None, wrong, 0.0), wrong, "one");
    let ended = schedule.end(&begun, wrong, true, 1.0);
    let now = at("2026-03-01T00:00:00Z");
    let agenda = schedule.resume(Some(&ended), now, 0.0);
    assert_eq!(agenda.next_due, at("2026-03-01T06:36:00Z"));
    assert_eq!(agenda.last_start, Some(now));
}

/// Schedules of all kinds.
fn schedules() -> impl Strategy<Value = Schedule> {
    let rhythm = prop_oneof![
        (1u64..10_000_000).prop_map(|seconds| Rhythm::every(Period::from_secs(seconds)).unwrap()),
        (0u8..60, 0u8..24)
            .prop_map(|(minute, hour)| Rhythm::cron(&format!("{minute} {hour} * * *")).unwrap()),
        (1u8..30, 1u8..28).prop_map(|(step, day)| Rhythm::cron(&format!("*/{step} 3,15 {day} * *")).unwrap()),
    ];
    let window = proptest::option::of((0u32..1440, 1u32..1439).prop_map(|(from, length)| {
        let until = (from + length) % 1440;
        format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60).parse().unwrap()
    }));
    (rhythm, 0u8..=100, window).prop_map(|(rhythm, jitter, window)| Schedule {
        rhythm,
        jitter: Percentage::from_percent(jitter),
        window,
    })
}

fn moments() -> impl Strategy<Value = Timestamp> {
    (0i64..4_000_000_000).prop_map(|second| Timestamp::from_second(second).unwrap())
}

proptest! {
    #[test]
    fn the_next_is_later_and_in_the_window(schedule in schedules(), last in moments(), draw in 0.0f64..=1.0) {
        let next = schedule.after(last, draw);
        prop_assert!(next > last);
        prop_assert!(next >= schedule.after(last, 0.0) && next <= schedule.after(last, 1.0));
        if let Some(window) = schedule.window {
            // The end of the jitter may be the moment in which the window closes.
            let inside = next.checked_sub(SignedDuration::from_nanos(1)).unwrap();
            prop_assert!(window.opened(next) == next || window.opened(inside) == inside);
        }
        if schedule.jitter.percent() == 0 {
            prop_assert_eq!(next, schedule.after(last, 0.0));
        }
    }

    #[test]
    fn nothing_begins_twice_at_once_and_all_goes_on(
        schedule in schedules(),
        start in moments(),
        draw in 0.0f64..=1.0,
        fates in proptest::collection::vec((0u8..4, 0i64..100_000, -3_000_000i64..3_000_000), 1..20),
    ) {
        let mut now = start;
        let mut agenda = None;
        for (fate, took, jump) in fates {
            let resumed = schedule.resume(agenda.as_ref(), now, draw);
            // However it came about: the next is never further away than the schedule itself.
            prop_assert!(resumed.next_due <= schedule.after(now, 1.0));
            if let Some(window) = schedule.window && resumed.next_due <= now {
                prop_assert_eq!(window.opened(now), now);
            }
            now = now.max(resumed.next_due);
            let begun = schedule.begin(&resumed, now, "one");
            prop_assert!(begun.next_due > now);
            prop_assert!(schedule.resume(Some(&begun), now, draw).next_due > now);
            let end = now + SignedDuration::from_secs(took);
            agenda = Some(match fate {
                // Killed.
                0 => begun,
                // The clock is set.
                1 => { now = start + SignedDuration::from_secs(jump.abs()); begun }
                _ => schedule.end(&begun, end, fate == 2, draw),
            });
            if fate != 1 { now = end; }
        }
    }
}
