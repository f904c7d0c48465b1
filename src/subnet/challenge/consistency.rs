//! What a validator makes of the features before it sends them: those that follow from others.

use super::draw::round;
use super::{Features, at};

/// Sets the features that follow from others, and makes room between shortest and longest for
/// the average length.
///
/// Needs the duration in seconds, hour, day, total messages, message ratio, the counts of
/// questions and the lengths of messages.
pub(super) fn make_consistent(features: &mut Features) {
    calendar(features);
    messages(features);
    lengths(features, at::AVG_LENGTH_USER, at::MIN_LENGTH_USER, at::MAX_LENGTH_USER);
    lengths(features, at::AVG_LENGTH_AGENT, at::MIN_LENGTH_AGENT, at::MAX_LENGTH_AGENT);
}

fn calendar(features: &mut Features) {
    let business = (9.0..=17.0).contains(&features[at::HOUR]);
    // Day 0 is Sunday.
    let weekend = features[at::DAY] == 0.0 || features[at::DAY] == 6.0;
    features[at::BUSINESS_HOURS] = f64::from(u8::from(business));
    features[at::WEEKEND] = f64::from(u8::from(weekend));
}

fn messages(features: &mut Features) {
    let total = features[at::TOTAL_MESSAGES];
    let minutes = round(features[at::DURATION_SECONDS] / 60.0, 4);
    let user = (total / (1.0 + 1.0 / features[at::RATIO])).floor();
    let agent = total - user;
    features[at::DURATION_MINUTES] = minutes;
    features[at::MESSAGES_PER_MINUTE] = quotient(total, minutes);
    features[at::USER_MESSAGES] = user;
    features[at::AGENT_MESSAGES] = agent;
    features[at::CHARS_USER] = (user * features[at::AVG_LENGTH_USER]).floor();
    features[at::CHARS_AGENT] = (agent * features[at::AVG_LENGTH_AGENT]).floor();
    features[at::QUESTIONS_PER_USER_MESSAGE] = quotient(features[at::QUESTIONS_USER], user);
    features[at::QUESTIONS_PER_AGENT_MESSAGE] = quotient(features[at::QUESTIONS_AGENT], agent);
}

/// A quotient to four decimals; 0 where there is nothing to divide by.
fn quotient(count: f64, by: f64) -> f64 {
    if by > 0.0 { round(count / by, 4) } else { 0.0 }
}

/// Shortest and longest are whole numbers, so the average is held between its floor and ceiling.
fn lengths(features: &mut Features, avg: usize, min: usize, max: usize) {
    features[min] = features[min].min(features[avg].floor());
    features[max] = features[max].max(features[avg].ceil());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut features = [0.0; 40];
        for (index, value) in [
            (at::DURATION_SECONDS, 92.0),
            (at::HOUR, 13.0),
            (at::DAY, 2.0),
            (at::TOTAL_MESSAGES, 9.0),
            (at::RATIO, 1.25),
            (at::AVG_LENGTH_USER, 47.5),
            (at::MIN_LENGTH_USER, 50.0),
            (at::MAX_LENGTH_USER, 47.0),
            (at::AVG_LENGTH_AGENT, 84.0),
            (at::MIN_LENGTH_AGENT, 53.0),
            (at::MAX_LENGTH_AGENT, 120.0),
            (at::QUESTIONS_AGENT, 3.0),
            (at::QUESTIONS_USER, 1.0),
        ] {
            features[index] = value;
        }
        make_consistent(&mut features);
        for (index, expected, why) in [
            (at::DURATION_MINUTES, 1.5333, "92/60 = 1.53333"),
            (at::MESSAGES_PER_MINUTE, 5.8697, "9/1.5333 = 5.869693"),
            (at::BUSINESS_HOURS, 1.0, "13 o'clock"),
            (at::WEEKEND, 0.0, "Tuesday"),
            (at::USER_MESSAGES, 5.0, "floor(9/(1 + 0.8)) = floor(5.0)"),
            (at::AGENT_MESSAGES, 4.0, "9 - 5"),
            (at::CHARS_USER, 237.0, "floor(5*47.5) = floor(237.5)"),
            (at::CHARS_AGENT, 336.0, "4*84"),
            (at::QUESTIONS_PER_AGENT_MESSAGE, 0.75, "3/4"),
            (at::QUESTIONS_PER_USER_MESSAGE, 0.2, "1/5"),
            (at::MIN_LENGTH_USER, 47.0, "50 was above the average of 47.5"),
            (at::MAX_LENGTH_USER, 48.0, "47 was below the average of 47.5"),
            (at::MIN_LENGTH_AGENT, 53.0, "as drawn"),
            (at::MAX_LENGTH_AGENT, 120.0, "as drawn"),
        ] {
            assert_eq!(features[index], expected, "{why}");
        }
    }

    #[test]
    fn edges_of_the_calendar() {
        for (hour, business) in [(8.0, 0.0), (9.0, 1.0), (17.0, 1.0), (18.0, 0.0)] {
            for (day, weekend) in [(0.0, 1.0), (1.0, 0.0), (5.0, 0.0), (6.0, 1.0)] {
                let mut features = [0.0; 40];
                features[at::HOUR] = hour;
                features[at::DAY] = day;
                calendar(&mut features);
                assert_eq!(features[at::BUSINESS_HOURS], business, "hour {hour}");
                assert_eq!(features[at::WEEKEND], weekend, "day {day}");
            }
        }
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        // One message and a ratio of 0.5: the person wrote floor(1/3) = 0 of it.
        let mut features = [0.0; 40];
        features[at::TOTAL_MESSAGES] = 1.0;
        features[at::RATIO] = 0.5;
        features[at::QUESTIONS_USER] = 2.0;
        messages(&mut features);
        assert_eq!(features[at::USER_MESSAGES], 0.0);
        assert_eq!(features[at::AGENT_MESSAGES], 1.0);
        assert_eq!(features[at::QUESTIONS_PER_USER_MESSAGE], 0.0);
        assert_eq!(features[at::MESSAGES_PER_MINUTE], 0.0);
    }
}
