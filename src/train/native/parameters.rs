//! Parameters, their moments, and AdamW.
//!
//! A parameter is cut into parts that threads move side by side: the panels of a matrix, or a vector
//! as a whole. The formula is that of Burn's AdamW, with clipping of each parameter's gradient by its
//! norm, and the proximal step of the gates (see [`Rule`]). Numbers that stay as they are lie here
//! too, so that all of a network is in one place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::matrix::{PANEL, height, panels};
use crate::train::autodiff::{BETAS, EPSILON};

/// Reads what no thread writes at this point of a step.
pub(super) fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what is this thread's own at this point of a step.
pub(super) fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// How a parameter is moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    /// Whether it stays as it is.
    pub(super) is_frozen: bool,
    /// The norm at which its gradient is cut; 0 for none.
    pub(super) clip: f32,
    /// The decay a step, as a share of the learning rate.
    pub(super) decay: f64,
    /// What is taken from each value's distance to zero, as a share of the learning rate.
    pub(super) penalty: f64,
}

impl Rule {
    /// Stays as it is.
    pub(super) const FROZEN: Rule = Rule { is_frozen: true, clip: 0.0, decay: 0.0, penalty: 0.0 };
}

/// How a parameter lies in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[rows, columns]` in panels of columns, for products.
    Panels,
    #[default]
    /// `[rows, columns]` row by row in one part, each row padded to whole panels.
    Whole,
}

/// A parameter's place among the parts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) rows: usize,
    pub(super) columns: usize,
    layout: Layout,
    /// Its first part.
    part: usize,
    /// Where its gradient begins in a shard's gradients.
    offset: usize,
}

impl Place {
    /// Numbers of a part.
    fn part_len(&self) -> usize {
        match self.layout {
            Layout::Panels => height(self.rows) * PANEL,
            Layout::Whole => self.rows * panels(self.columns) * PANEL,
        }
    }

    /// How many parts there are.
    pub(super) fn parts(&self) -> usize {
        match self.layout {
            Layout::Panels => panels(self.columns),
            Layout::Whole => 1,
        }
    }

    /// Where the gradient of a part lies in a shard's gradients.
    pub(super) fn gradient(&self, part: usize) -> std::ops::Range<usize> {
        let start = self.offset + part * self.part_len();
        start..start + self.part_len()
    }

    /// Part of a value, and place in it.
    fn locate(&self, (row, column): (usize, usize)) -> (usize, usize) {
        match self.layout {
            Layout::Panels => (self.part + column / PANEL, row * PANEL + column % PANEL),
            Layout::Whole => (self.part, row * panels(self.columns) * PANEL + column),
        }
    }
}

/// A part of a parameter.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) values: Vec<f32>,
    /// Summed over the shards.
    gradient: Vec<f32>,
    /// Adam's moments.
    first: Vec<f32>,
    second: Vec<f32>,
}

/// A parameter: its place, and where each of Burn's numbers is, in their order.
#[derive(Debug)]
struct Parameter {
    place: Place,
    rule: Rule,
    /// Part, and place in it.
    cells: Vec<(usize, usize)>,
}

/// All numbers of a network, in the order in which Burn visits them.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    parameters: Vec<Parameter>,
    parts: Vec<RwLock<Part>>,
    /// Which parameter each part is of.
    owners: Vec<usize>,
    /// The sum of squares of each part's gradient, as bits.
    squares: Vec<AtomicU64>,
    /// Numbers of all gradients together.
    gradients: usize,
}

/// How far a step goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// The learning rate.
    pub(super) rate: f64,
    /// Steps taken, this one included.
    pub(super) steps: u64,
}

impl Parameters {
    /// Adds a parameter of rows and columns, with Burn's numbers at these cells of it.
    pub(super) fn add(
        &mut self,
        (layout, rows, columns): (Layout, usize, usize),
        rule: Rule,
        numbers: &[f32],
        cells: impl IntoIterator<Item = (usize, usize)>,
    ) -> Place {
        let place = Place { rows, columns, layout, part: self.parts.len(), offset: self.gradients };
        let moved = if rule.is_frozen { 0 } else { place.part_len() };
        for _ in 0..place.parts() {
            self.parts.push(RwLock::new(Part {
                values: vec![0.0; place.part_len()],
                gradient: vec![0.0; moved],
                first: vec![0.0; moved],
                second: vec![0.0; moved],
            }));
            self.owners.push(self.parameters.len());
            self.squares.push(AtomicU64::new(0));
        }
        self.gradients += place.parts() * place.part_len();
        let cells: Vec<_> = cells.into_iter().map(|cell| place.locate(cell)).collect();
        assert_eq!(cells.len(), numbers.len(), "a cell for each number. This is a bug.");
        for ((part, index), number) in cells.iter().zip(numbers) {
            write(&self.parts[*part]).values[*index] = *number;
        }
        self.parameters.push(Parameter { place, rule, cells });
        place
    }

    /// Adds a parameter whose numbers come row by row.
    pub(super) fn add_plain(
        &mut self,
        shape: (Layout, usize, usize),
        rule: Rule,
        numbers: &[f32],
    ) -> Place {
        let (_, rows, columns) = shape;
        let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        self.add(shape, rule, numbers, cells)
    }

    /// Burn's numbers.
    pub(super) fn numbers(&self) -> Vec<f32> {
        self.collect(|_| true, |part| &part.values)
    }

    /// What a training goes on from: the numbers, and the moments of those that are moved.
    pub(super) fn state(&self) -> Vec<f32> {
        let moved = |rule: &Rule| !rule.is_frozen;
        let moments =
            [self.collect(moved, |part| &part.first), self.collect(moved, |part| &part.second)];
        [self.numbers(), moments.concat()].concat()
    }

    /// Numbers of a [`Parameters::state`].
    pub(super) fn state_len(&self) -> usize {
        let len = |parameter: &Parameter| {
            parameter.cells.len() * if parameter.rule.is_frozen { 1 } else { 3 }
        };
        self.parameters.iter().map(len).sum()
    }

    /// Goes on from a state, which must have the right length.
    pub(super) fn restore(&self, state: &[f32]) {
        let mut state = state.iter();
        let fields: [fn(&mut Part) -> &mut Vec<f32>; 3] =
            [|part| &mut part.values, |part| &mut part.first, |part| &mut part.second];
        for (index, field) in fields.into_iter().enumerate() {
            let has = |parameter: &&Parameter| index == 0 || !parameter.rule.is_frozen;
            for parameter in self.parameters.iter().filter(has) {
                for ((part, cell), number) in parameter.cells.iter().zip(&mut state) {
                    field(&mut write(&self.parts[*part]))[*cell] = *number;
                }
            }
        }
    }

    fn collect(&self, which: impl Fn(&Rule) -> bool, of: impl Fn(&Part) -> &Vec<f32>) -> Vec<f32> {
        let parts: Vec<_> = self.parts.iter().map(read).collect();
        let chosen = self.parameters.iter().filter(|parameter| which(&parameter.rule));
        let cells = chosen.flat_map(|parameter| &parameter.cells);
        cells.map(|(part, index)| of(&parts[*part])[*index]).collect()
    }

    /// Numbers of a shard's gradients.
    pub(super) fn gradients(&self) -> usize {
        self.gradients
    }

    /// How many parts there are.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// A part of a parameter, to read.
    pub(super) fn part(&self, place: &Place, part: usize) -> RwLockReadGuard<'_, Part> {
        read(&self.parts[place.part + part])
    }

    /// A part of a parameter, to write.
    pub(super) fn part_mut(&self, place: &Place, part: usize) -> RwLockWriteGuard<'_, Part> {
        write(&self.parts[place.part + part])
    }

    /// Adds up a part's gradient over the shards, always in the same order.
    #[inline(always)]
    pub(super) fn reduce<T>(
        &self,
        part: usize,
        shards: &[RwLock<T>],
        gradients: impl Fn(&T) -> &Vec<f32>,
    ) {
        let Parameter { place, rule, .. } = &self.parameters[self.owners[part]];
        if rule.is_frozen {
            return;
        }
        let range = place.gradient(part - place.part);
        let mut guard = write(&self.parts[part]);
        let sums = &mut guard.gradient;
        for (index, shard) in shards.iter().enumerate() {
            let shard = read(shard);
            let gradient = &gradients(&shard)[range.clone()];
            if index == 0 {
                sums.copy_from_slice(gradient);
            } else {
                for (sum, value) in sums.iter_mut().zip(gradient) {
                    *sum += value;
                }
            }
        }
        if rule.clip > 0.0 {
            self.squares[part].store(sum_of_squares(sums).to_bits(), Ordering::Relaxed);
        }
    }

    /// Moves a part.
    #[inline(always)]
    pub(super) fn advance(&self, part: usize, pace: Pace) {
        let Parameter { place, rule, .. } = &self.parameters[self.owners[part]];
        if rule.is_frozen {
            return;
        }
        let mut scale = 1.0;
        if rule.clip > 0.0 {
            let squares = self.squares[place.part..place.part + place.parts()].iter();
            let squares: f64 =
                squares.map(|squares| f64::from_bits(squares.load(Ordering::Relaxed))).sum();
            scale = (rule.clip / (squares.sqrt() as f32 + f32::MIN_POSITIVE)).min(1.0);
        }
        let part = &mut *write(&self.parts[part]);
        adam(part, scale, rule, pace);
        if rule.penalty > 0.0 {
            let threshold = (pace.rate * rule.penalty) as f32;
            for value in &mut part.values {
                // What is closer to zero than the threshold becomes exactly zero.
                *value = (*value - threshold).max(0.0) + (*value + threshold).min(0.0);
            }
        }
    }
}

/// A step of AdamW.
#[inline(always)]
fn adam(part: &mut Part, scale: f32, rule: &Rule, pace: Pace) {
    let unbiased = |keep: f64| (1.0 / (1.0 - keep.powf(pace.steps as f64))) as f32;
    let (unbiased_first, unbiased_second) = (unbiased(BETAS.0), unbiased(BETAS.1));
    let (keep_first, keep_second) = (BETAS.0 as f32, BETAS.1 as f32);
    let (take_first, take_second) = ((1.0 - BETAS.0) as f32, (1.0 - BETAS.1) as f32);
    let (kept, rate) = ((1.0 - pace.rate * rule.decay) as f32, pace.rate as f32);
    let epsilon = EPSILON as f32;
    let moments = part.first.iter_mut().zip(&mut part.second);
    let values = part.values.iter_mut().zip(&part.gradient);
    for ((value, gradient), (first, second)) in values.zip(moments) {
        let gradient = gradient * scale;
        *first = *first * keep_first + gradient * take_first;
        *second = *second * keep_second + gradient * gradient * take_second;
        let step = *first * unbiased_first / ((*second * unbiased_second).sqrt() + epsilon);
        *value = *value * kept - step * rate;
    }
}

/// In a fixed order that vectors can follow.
#[inline(always)]
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sums = [0.0_f32; PANEL];
    for values in values.chunks_exact(PANEL) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value * value;
        }
    }
    sums.iter().map(|sum| f64::from(*sum)).sum()
}
