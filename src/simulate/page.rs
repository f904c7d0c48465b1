//! A simulation as a page: one HTML file with its style and pictures in it, and no script.

use super::plan::{OUTAGE_DAYS, Plan, Scenario};
use super::result::{Day, Event, RECOVERY_DAYS, Simulation, Way};
use crate::report::page::axis::Axis;
use crate::report::page::cards::{Card, grid};
use crate::report::page::chart::{Chart, series, side_by_side};
use crate::report::page::document;
use crate::report::page::tables::{row, table};
use crate::report::page::text::{escape, fixed, percent, signed};

/// The page of a simulation.
pub fn page(simulation: &Simulation) -> String {
    let plan = &simulation.plan;
    let title = format!("{}: convminer simulation", plan.scenario);
    let sections = [
        ("rewards", "Reward over time", rewards(simulation)),
        ("events", "What the learning miner did", events(simulation)),
        ("days", "Day by day", days(simulation)),
    ];
    document(&title, &opening(simulation), &sections)
}

fn opening(simulation: &Simulation) -> String {
    let Simulation { plan, summary, .. } = simulation;
    let since = format!("mean reward since day {}", plan.event_day);
    let mut cards: Vec<Card> = Way::ALL
        .into_iter()
        .zip(summary.miners_since)
        .map(|(way, reward)| Card {
            name: way.name(),
            value: fixed(reward, 4),
            remark: since.clone(),
        })
        .collect();
    cards.push(Card {
        name: "learning over frozen",
        value: format!("{} %", signed(100.0 * summary.learning_over_frozen, 1)),
        remark: "over all days".to_owned(),
    });
    if let Some([_, calibrated, learning]) = summary.recovered {
        let (first, last) = RECOVERY_DAYS;
        let remark = format!("of the lost reward, {first} to {last} days later");
        for (name, share) in [("learning got back", learning), ("calibrating got back", calibrated)]
        {
            cards.push(Card { name, value: percent(share, 0), remark: remark.clone() });
        }
    }
    let cards = grid(cards);
    format!(
        "<header>\n<p class=\"kind\">Simulation</p>\n<h1>{}</h1>\n<p>{} {} conversations a day for \
         {} days, asked through the axon by a validator with a clock of its own; the first model \
         learned from {} rows.</p>\n</header>\n{cards}",
        escape(plan.scenario.name()),
        what_happens(plan),
        plan.per_day,
        plan.days,
        plan.training_rows
    )
}

fn what_happens(plan: &Plan) -> String {
    let day = plan.event_day;
    match plan.scenario {
        Scenario::Drift => format!("From day {day} on, conversations convert by another rule."),
        Scenario::Flip => {
            format!("The miners are told the opposite of what became of day {day}'s conversations.")
        }
        Scenario::Outage => format!(
            "The miners hear nothing of what became of the conversations of days {day} to {}; then \
             all of it.",
            day + OUTAGE_DAYS - 1
        ),
    }
}

fn rewards(simulation: &Simulation) -> String {
    let Simulation { plan, days, .. } = simulation;
    let values = days.iter().flat_map(|day| day.miners.into_iter().chain([day.best]));
    let mut chart = Chart::new(
        "Mean reward a day",
        "The best possible mean reward and those of the three miners, day by day.",
        Axis::new("day", 0.0, plan.days as f64),
        Axis::around("mean reward", values),
    );
    chart = marked(chart, plan);
    let class = series(Way::ALL.len());
    chart = chart
        .line(&class, &smooth(days, &|day| day.best))
        .key(&format!("line {class}"), "best possible");
    for (number, way) in Way::ALL.into_iter().enumerate() {
        let class = series(number);
        let daily: Vec<(f64, f64)> = days.iter().map(|day| (at(day), day.miners[number])).collect();
        chart = chart
            .dots(&class, 1.4, &daily)
            .line(&class, &smooth(days, &|day| day.miners[number]))
            .key(&format!("line {class}"), way.name());
    }
    let caption = "Dots are single days; lines are means of three days in a row. What lies below the \
                   best possible is what a miner leaves to others.";
    side_by_side(&[chart.figure(caption), ahead(simulation)])
}

/// What the others have earned more than the frozen miner so far.
fn ahead(simulation: &Simulation) -> String {
    let Simulation { plan, days, .. } = simulation;
    let more = |number: usize| -> Vec<(f64, f64)> {
        let sums = days.iter().scan(0.0, |sum, day| {
            *sum += (day.miners[number] - day.miners[0]) * plan.per_day as f64;
            Some((at(day) + 0.5, *sum))
        });
        std::iter::once((0.0, 0.0)).chain(sums).collect()
    };
    let lines = [1, 2].map(more);
    let values = lines.iter().flatten().map(|(_, value)| *value);
    let mut chart = Chart::new(
        "Rewards ahead of the frozen miner",
        "The sums of all rewards so far of the calibrated and the learning miner, less that of the \
         frozen one.",
        Axis::new("day", 0.0, plan.days as f64),
        Axis::around("sum of rewards", values.chain([-1.0, 1.0])),
    );
    chart = marked(chart, plan).reference((0.0, 0.0), (plan.days as f64, 0.0));
    for (number, line) in lines.iter().enumerate() {
        let class = series(number + 1);
        chart = chart.line(&class, line).key(&format!("line {class}"), Way::ALL[number + 1].name());
    }
    chart.figure("A conversation earns at most 0.6 or so: the sum is over all that were asked.")
}

/// Shows when it happens.
fn marked(chart: Chart, plan: &Plan) -> Chart {
    let (event, end) = (plan.event_day as f64, plan.days as f64);
    match plan.scenario {
        Scenario::Drift => chart.borders([event]),
        Scenario::Flip => chart.zone(event, (event + 1.0).min(end)),
        Scenario::Outage => chart.zone(event, (event + OUTAGE_DAYS as f64).min(end)),
    }
}

/// The middle of a day.
fn at(day: &Day) -> f64 {
    day.day as f64 + 0.5
}

/// Means of three days in a row.
fn smooth(days: &[Day], of: &dyn Fn(&Day) -> f64) -> Vec<(f64, f64)> {
    let mean = |part: &[Day], of: &dyn Fn(&Day) -> f64| {
        part.iter().map(of).sum::<f64>() / part.len() as f64
    };
    days.windows(3.min(days.len())).map(|part| (mean(part, &at), mean(part, of))).collect()
}

fn events(simulation: &Simulation) -> String {
    if simulation.events.is_empty() {
        return "<p class=\"absent\">Nothing.</p>\n".to_owned();
    }
    let line =
        |event: &Event| format!("<li><b>Day {}.</b> {}</li>\n", event.day, escape(&event.what));
    let lines: String = simulation.events.iter().map(line).collect();
    format!("<ul>\n{lines}</ul>\n")
}

fn days(simulation: &Simulation) -> String {
    let line = |day: &Day| {
        let cells: Vec<String> =
            std::iter::once(day.best).chain(day.miners).map(|reward| fixed(reward, 4)).collect();
        row("", &day.day.to_string(), &cells)
    };
    let rows: String = simulation.days.iter().map(line).collect();
    let [frozen, calibrated, learning] = Way::ALL.map(Way::name);
    table(&["day", "best possible", frozen, calibrated, learning], &rows)
}

#[cfg(test)]
mod tests {
    use super::super::result::Summary;
    use super::*;

    #[test]
    fn a_page_tells_all_and_needs_nothing() {
        let plan = Plan {
            scenario: Scenario::Drift,
            days: 20,
            event_day: 5,
            per_day: 10,
            training_rows: 100,
            seed: 1,
        };
        let days: Vec<Day> =
            (0..20).map(|day| Day { day, best: 0.5, miners: [0.3, 0.35, 0.45] }).collect();
        let summary = Summary::of(&plan, &days);
        let events = vec![Event { day: 7, what: "promoted <b>".to_owned() }];
        let page = page(&Simulation { plan, days, events, summary });
        for text in
            ["Day 7.</b> promoted &lt;b&gt;", "0.4500", "learning got back", "<h1>drift</h1>"]
        {
            assert!(page.contains(text), "{text} is not in the page");
        }
        for foreign in ["<script", "http://", "https://", "src="] {
            assert!(!page.contains(foreign), "{foreign} is in the page");
        }
    }
}
