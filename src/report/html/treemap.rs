//! A treemap: rectangles whose areas are to each other as the bytes that they stand for.
//!
//! The layout is the squarified one of Bruls, Huizing and van Wijk (2000): rows are filled along the shorter side for as
//! long as that makes the worst rectangle of the row less long.

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rectangle {
    /// From the left.
    pub x: f64,
    /// From the top.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Rectangle {
    /// Divides it across its longer side in proportion to the weights; what weighs nothing has no area.
    pub fn divided<const N: usize>(&self, weights: [u64; N]) -> [Self; N] {
        let total: f64 = weights.iter().map(|weight| float(*weight)).sum();
        let mut before = 0.0;
        weights.map(|weight| {
            let share = if total > 0.0 { float(weight) / total } else { 0.0 };
            let start = before;
            before += share;
            if self.width >= self.height {
                Self { x: self.x + start * self.width, width: share * self.width, ..*self }
            } else {
                Self { y: self.y + start * self.height, height: share * self.height, ..*self }
            }
        })
    }
}

/// Lays out rectangles for weights that are sorted, the greatest first, so that they fill `area`.
pub fn squarify(weights: &[u64], area: Rectangle) -> Vec<Rectangle> {
    let total: f64 = weights.iter().map(|weight| float(*weight)).sum();
    if total <= 0.0 {
        let nothing = Rectangle { width: 0.0, height: 0.0, ..area };
        return vec![nothing; weights.len()];
    }
    let scale = area.width * area.height / total;
    let sizes: Vec<f64> = weights.iter().map(|weight| float(*weight) * scale).collect();
    let mut placed = Vec::with_capacity(weights.len());
    let (mut left, mut start) = (area, 0);
    while start < sizes.len() {
        let side = left.width.min(left.height);
        let mut end = start + 1;
        while end < sizes.len() && worst(&sizes[start..=end], side) <= worst(&sizes[start..end], side) {
            end += 1;
        }
        left = place_row(&sizes[start..end], left, &mut placed);
        start = end;
    }
    placed
}

/// Places a row along the shorter side, and answers what is left of the area.
fn place_row(row: &[f64], left: Rectangle, placed: &mut Vec<Rectangle>) -> Rectangle {
    let sum: f64 = row.iter().sum();
    let upright = left.width >= left.height;
    let side = if upright { left.height } else { left.width };
    let thickness = if side > 0.0 { sum / side } else { 0.0 };
    let mut at = 0.0;
    for size in row {
        let length = if thickness > 0.0 { size / thickness } else { 0.0 };
        placed.push(if upright {
            Rectangle { x: left.x, y: left.y + at, width: thickness, height: length }
        } else {
            Rectangle { x: left.x + at, y: left.y, width: length, height: thickness }
        });
        at += length;
    }
    if upright {
        Rectangle { x: left.x + thickness, width: (left.width - thickness).max(0.0), ..left }
    } else {
        Rectangle { y: left.y + thickness, height: (left.height - thickness).max(0.0), ..left }
    }
}

/// The greatest ratio of the sides in a row of this length.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let most = row.iter().copied().fold(0.0, f64::max);
    let least = row.iter().copied().fold(f64::MAX, f64::min);
    if least <= 0.0 || sum <= 0.0 {
        return f64::MAX;
    }
    (side * side * most / (sum * sum)).max(sum * sum / (side * side * least))
}

#[expect(clippy::cast_precision_loss, reason = "a picture needs no more than 53 bits of a size")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AREA: Rectangle = Rectangle { x: 0.0, y: 0.0, width: 1000.0, height: 400.0 };

    fn size(rectangle: &Rectangle) -> f64 {
        rectangle.width * rectangle.height
    }

    #[test]
    fn the_example_of_the_paper() {
        let area = Rectangle { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };
        let placed = squarify(&[6, 6, 4, 3, 2, 2, 1], area);
        let near = |left: f64, right: f64| (left - right).abs() < 1e-9;
        assert!(near(placed[0].width, 3.0) && near(placed[0].height, 2.0), "{placed:?}");
        assert!(near(placed[1].width, 3.0) && near(placed[1].y, 2.0), "{placed:?}");
        assert!(near(placed[2].x, 3.0) && near(placed[2].width, 12.0 / 7.0), "{placed:?}");
    }

    #[test]
    fn nothing_has_no_area() {
        assert_eq!(squarify(&[], AREA), vec![]);
        assert!(squarify(&[0, 0], AREA).iter().all(|one| one.width == 0.0));
        assert!(AREA.divided([0, 0]).iter().all(|one| one.width == 0.0));
    }

    proptest! {
        #[test]
        fn areas_are_as_the_weights_and_nothing_overlaps(mut weights in prop::collection::vec(0_u64..1 << 50, 1..60)) {
            weights.sort_unstable_by(|left, right| right.cmp(left));
            let total: f64 = weights.iter().map(|weight| float(*weight)).sum();
            prop_assume!(total > 0.0);
            let placed = squarify(&weights, AREA);
            prop_assert_eq!(placed.len(), weights.len());
            for (index, (one, weight)) in placed.iter().zip(&weights).enumerate() {
                let wanted = float(*weight) / total * size(&AREA);
                prop_assert!((size(one) - wanted).abs() < 1e-3, "{} for {}", size(one), wanted);
                prop_assert!(one.x >= -1e-6 && one.y >= -1e-6);
                prop_assert!(one.x + one.width <= AREA.width + 1e-6 && one.y + one.height <= AREA.height + 1e-6);
                for other in &placed[index + 1..] {
                    let apart = |start: f64, length: f64, other: f64, its: f64| {
                        start + length <= other + 1e-6 || other + its <= start + 1e-6
                    };
                    prop_assert!(
                        apart(one.x, one.width, other.x, other.width)
                            || apart(one.y, one.height, other.y, other.height),
                        "{:?} and {:?}", one, other
                    );
                }
            }
        }

        #[test]
        fn the_parts_of_a_rectangle_are_as_their_weights(weights: [u32; 3], width in 1.0_f64..500.0, height in 1.0_f64..500.0) {
            let whole = Rectangle { x: 3.0, y: 5.0, width, height };
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            prop_assume!(total > 0);
            for (part, weight) in whole.divided(weights.map(u64::from)).iter().zip(weights) {
                let wanted = f64::from(weight) / float(total) * size(&whole);
                prop_assert!((size(part) - wanted).abs() < 1e-3);
            }
        }
    }
}
