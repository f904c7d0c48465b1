//! What a later branch of the validator sends: one of five kinds of conversation, each with its
//! own chance to convert. The outcome keeps noise that no feature explains.

use super::consistency::make_consistent;
use super::draw::{Dice, clipped};
use super::{Features, Oracle, OracleTime, at, rule};
use crate::subnet::reward::Truth;

/// The time of a conversation that converts is a uniform share of its duration between these.
const TIME_SHARE: (f64, f64) = (0.2, 0.8);

/// One kind of conversation. Ranges are inclusive, and every value in them is as likely.
struct Template {
    messages: (u32, u32),
    duration_seconds: (f64, f64),
    ratio: (f64, f64),
    entities: (u32, u32),
    /// Whether it takes place on day 0 to 4 between 9 and 17 o'clock.
    business_hours: bool,
    probability: f64,
}

/// high engagement, quick exit, medium, extended, business hours.
#[rustfmt::skip]
const TEMPLATES: [Template; 5] = [
    Template { messages: (15, 50), duration_seconds: (300.0, 1800.0), ratio: (1.2, 2.0), entities: (3, 8), business_hours: false, probability: 0.8 },
    Template { messages: (1, 5), duration_seconds: (30.0, 180.0), ratio: (0.5, 1.5), entities: (0, 2), business_hours: false, probability: 0.1 },
    Template { messages: (6, 20), duration_seconds: (180.0, 600.0), ratio: (0.8, 1.5), entities: (1, 5), business_hours: false, probability: 0.4 },
    Template { messages: (20, 60), duration_seconds: (600.0, 2400.0), ratio: (1.0, 1.8), entities: (2, 6), business_hours: false, probability: 0.2 },
    Template { messages: (8, 25), duration_seconds: (240.0, 900.0), ratio: (1.1, 1.6), entities: (2, 6), business_hours: true, probability: 0.6 },
];

/// A conversation of a random template.
///
/// The templates name the total of messages, the duration, the ratio and the entities, and one of
/// them the hour and day. The rest is filled in by the same laws whatever the template, so that
/// it says nothing of the outcome:
///
/// - hour and day are uniform where the template does not name them;
/// - response times, message lengths, entity confidences, alternation rate and repeated
///   questions are drawn as in the rule challenge;
/// - whoever wrote no message has lengths of 0, and asks between no question and one a message;
/// - at most four messages in a row are the person's, one the agent's, and no more than there are;
/// - the target entity is a fair coin, and absent where no entity was collected; then both
///   entity confidences are -1, which is "not available".
pub(super) fn example(dice: &mut Dice) -> (Features, Truth, Oracle) {
    let template = &TEMPLATES[dice.any_int(0, 4) as usize];
    let features = features(dice, template);
    let duration = features[at::DURATION_SECONDS];
    let (low, high) = (TIME_SHARE.0 * duration, TIME_SHARE.1 * duration);
    let truth = if dice.chance(template.probability) {
        Truth::converted_after(dice.any_float(low, high))
    } else {
        Truth::not_converted()
    };
    let probability = probability(&features);
    (features, truth, Oracle { probability, time: OracleTime::Uniform { low, high } })
}

fn features(dice: &mut Dice, template: &Template) -> Features {
    use super::draw::round;

    let mut features = [0.0; 40];
    let (low, high) = template.duration_seconds;
    features[at::DURATION_SECONDS] = round(dice.any_float(low, high), 2);
    features[at::TOTAL_MESSAGES] = dice.any_int(template.messages.0, template.messages.1);
    features[at::RATIO] = round(dice.any_float(template.ratio.0, template.ratio.1), 2);
    features[at::ENTITIES] = dice.any_int(template.entities.0, template.entities.1);
    let (hours, days) = if template.business_hours { ((9, 17), 4) } else { ((0, 23), 6) };
    features[at::HOUR] = dice.any_int(hours.0, hours.1);
    features[at::DAY] = dice.any_int(0, days);

    rule::response_times(&mut features, dice);
    rule::message_lengths(&mut features, dice);
    make_consistent(&mut features);
    questions_and_runs(&mut features, dice);
    silence(&mut features);
    entities(&mut features, dice);
    features[at::COLLECTION_RATE] = 0.0;
    features[at::REPEATED_QUESTIONS] = dice.coin();
    features[at::ALTERNATION_RATE] = dice.float(clipped(0.9, 0.1, 0.7, 1.0), 3);
    // Once more, for the questions a message.
    make_consistent(&mut features);
    features
}

/// What depends on how many messages there are of each side.
fn questions_and_runs(features: &mut Features, dice: &mut Dice) {
    let (user, agent) = (features[at::USER_MESSAGES], features[at::AGENT_MESSAGES]);
    features[at::QUESTIONS_AGENT] = dice.any_int(0, agent as u32);
    features[at::QUESTIONS_USER] = dice.any_int(0, user as u32);
    features[at::SEQUENTIAL_USER] = dice.any_int(1, 4).min(user);
    features[at::SEQUENTIAL_AGENT] = agent.min(1.0);
}

/// Whoever wrote no message has no lengths of messages.
fn silence(features: &mut Features) {
    let user = [at::AVG_LENGTH_USER, at::MAX_LENGTH_USER, at::MIN_LENGTH_USER];
    let agent = [at::AVG_LENGTH_AGENT, at::MAX_LENGTH_AGENT, at::MIN_LENGTH_AGENT];
    for (count, lengths) in [(at::USER_MESSAGES, user), (at::AGENT_MESSAGES, agent)] {
        if features[count] == 0.0 {
            for length in lengths {
                features[length] = 0.0;
            }
        }
    }
}

fn entities(features: &mut Features, dice: &mut Dice) {
    let coin = dice.coin();
    rule::entity_confidences(features, dice);
    features[at::TARGET_ENTITY] = coin;
    if features[at::ENTITIES] == 0.0 {
        features[at::TARGET_ENTITY] = 0.0;
        features[at::AVG_CONFIDENCE] = -1.0;
        features[at::MIN_CONFIDENCE] = -1.0;
    }
}

/// The probability that a conversation with these features converts: the templates' own, each
/// weighed by how likely it is given what the features show.
///
/// The templates are equally likely beforehand, and each makes all of its values equally likely;
/// so the weight of a template is one over the number of values it could have made, if these are
/// among them, else 0. That rounding makes the ends of a range half as likely is left out: it
/// concerns one row in thousands.
fn probability(features: &Features) -> f64 {
    let (mut weights, mut weighted) = (0.0, 0.0);
    for template in &TEMPLATES {
        let weight = template.likelihood(features);
        weights += weight;
        weighted += weight * template.probability;
    }
    weighted / weights
}

impl Template {
    /// How likely this template makes these features, up to a factor that all templates share.
    fn likelihood(&self, features: &Features) -> f64 {
        let int = |(low, high): (u32, u32), value: f64| {
            let (low, high) = (f64::from(low), f64::from(high));
            if (low..=high).contains(&value) { 1.0 / (high - low + 1.0) } else { 0.0 }
        };
        let float = |(low, high): (f64, f64), value: f64| {
            if (low..=high).contains(&value) { 1.0 / (high - low) } else { 0.0 }
        };
        let (hours, days) = if self.business_hours { ((9, 17), 4) } else { ((0, 23), 6) };
        int(self.messages, features[at::TOTAL_MESSAGES])
            * float(self.duration_seconds, features[at::DURATION_SECONDS])
            * float(self.ratio, features[at::RATIO])
            * int(self.entities, features[at::ENTITIES])
            * int(hours, features[at::HOUR])
            * int((0, days), features[at::DAY])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::challenge::Challenge;
    use crate::subnet::schema::FEATURES;

    /// Duration, messages, ratio, entities, hour, day.
    fn shown(values: [f64; 6]) -> Features {
        let mut features = [0.0; 40];
        let places =
            [at::DURATION_SECONDS, at::TOTAL_MESSAGES, at::RATIO, at::ENTITIES, at::HOUR, at::DAY];
        for (place, value) in places.into_iter().zip(values) {
            features[place] = value;
        }
        features
    }

    #[test]
    fn posteriors_by_hand() {
        // Only a quick exit has 3 messages, and only an extended one takes 2000 s.
        assert!((probability(&shown([100.0, 3.0, 1.0, 1.0, 12.0, 1.0])) - 0.1).abs() < 1e-12);
        assert!((probability(&shown([2000.0, 30.0, 1.5, 5.0, 12.0, 1.0])) - 0.2).abs() < 1e-12);
        // High engagement or extended, in the evening:
        // high: 1/36 * 1/1500 * 1/0.8 * 1/6,  extended: 1/41 * 1/1800 * 1/0.8 * 1/5
        // 1/high = 36*1500*0.8*6 = 259,200,  1/extended = 41*1800*0.8*5 = 295,200
        // p = (0.8*295.2 + 0.2*259.2)/(295.2 + 259.2) = 288/554.4
        let found = probability(&shown([1000.0, 30.0, 1.5, 5.0, 20.0, 1.0]));
        assert!((found - 288.0 / 554.4).abs() < 1e-12, "{found}");
        // Medium or business hours, on Monday at noon:
        // medium:   1/15 * 1/420 * 1/0.7 * 1/5 * 1/24 * 1/7 -> 1/3,704,400
        // business: 1/18 * 1/660 * 1/0.5 * 1/5 * 1/9  * 1/5 -> 1/1,336,500
        // p = (0.4*1.3365 + 0.6*3.7044)/(1.3365 + 3.7044) = 2.75724/5.0409
        let found = probability(&shown([400.0, 10.0, 1.2, 3.0, 12.0, 1.0]));
        assert!((found - 2.75724 / 5.0409).abs() < 1e-12, "{found}");
        // On a Saturday it can only be the medium one.
        let found = probability(&shown([400.0, 10.0, 1.2, 3.0, 12.0, 6.0]));
        assert!((found - 0.4).abs() < 1e-12, "{found}");
    }

    #[test]
    fn probabilities_are_calibrated() {
        // Of the rows of which p is said, a share p converts: ten bins of 40,000 rows.
        let (mut said, mut happened, mut counts) = ([0.0; 10], [0.0; 10], [0.0; 10]);
        for example in Challenge::Template.examples(6).take(40_000) {
            let bin = (example.oracle.probability * 10.0) as usize;
            said[bin] += example.oracle.probability;
            happened[bin] += f64::from(u8::from(example.truth.converted));
            counts[bin] += 1.0;
        }
        for bin in 0..10 {
            let count: f64 = counts[bin];
            if count > 0.0 {
                let difference: f64 = (said[bin] - happened[bin]) / count;
                assert!(
                    difference.abs() < 2.0 / count.sqrt(),
                    "bin {bin}: {difference} of {count}"
                );
            }
        }
    }

    #[test]
    fn every_feature_makes_sense() {
        for example in Challenge::Template.examples(5).take(5_000) {
            for (feature, value) in FEATURES.iter().zip(example.features) {
                let (low, high) = feature.range;
                let unavailable = feature.minus_one_is_missing && value == -1.0;
                assert!((low..=high).contains(&value) || unavailable, "{} = {value}", feature.name);
            }
            let features = &example.features;
            assert!(features[at::MIN_LENGTH_USER] <= features[at::AVG_LENGTH_USER]);
            assert!(features[at::AVG_LENGTH_USER] <= features[at::MAX_LENGTH_USER]);
            assert!(features[at::QUESTIONS_PER_USER_MESSAGE] <= 1.0);
            assert!(features[at::QUESTIONS_PER_AGENT_MESSAGE] <= 1.0);
            assert!(features[at::SEQUENTIAL_USER] <= features[at::USER_MESSAGES]);
            if example.truth.converted {
                let share = example.truth.time_seconds / features[at::DURATION_SECONDS];
                assert!((0.2..=0.8).contains(&share), "{share}");
            }
        }
    }
}
