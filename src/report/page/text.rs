//! Text that is safe in a page, and numbers as people read them.

/// Text as it may stand in an element or in an attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Other control characters are in no page.
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A number with so many decimals and a real minus; `n/a` for what is none.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "n/a".to_owned();
    }
    let text = format!("{value:.decimals$}");
    let is_zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
    match text.strip_prefix('-') {
        Some(zero) if is_zero => zero.to_owned(),
        Some(positive) => format!("\u{2212}{positive}"),
        None => text,
    }
}

/// As [`fixed`], with a sign in front of more than nothing too.
pub(crate) fn signed(value: f64, decimals: usize) -> String {
    let text = fixed(value, decimals);
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if value > 0.0 && value.is_finite() && !is_zero { format!("+{text}") } else { text }
}

/// As [`fixed`]; a dash for nothing.
pub(crate) fn or_dash(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "\u{2013}".to_owned(), |value| fixed(value, decimals))
}

/// A share as a percentage.
pub(crate) fn percent(share: f64, decimals: usize) -> String {
    format!("{} %", fixed(share * 100.0, decimals))
}

/// A count with its thousands told apart.
pub(crate) fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place() {
        assert_eq!(
            escape("</td><script>alert('a' & \"b\")</script>\u{7}"),
            "&lt;/td&gt;&lt;script&gt;alert(&#39;a&#39; &amp; &quot;b&quot;)&lt;/script&gt; "
        );
    }

    #[test]
    fn numbers_by_hand() {
        for (value, decimals, expected) in [
            (0.12345, 4, "0.1235"),
            (-0.5, 2, "\u{2212}0.50"),
            (-0.00001, 4, "0.0000"),
            (f64::NAN, 2, "n/a"),
            (f64::INFINITY, 2, "n/a"),
        ] {
            assert_eq!(fixed(value, decimals), expected);
        }
        assert_eq!(signed(0.5, 1), "+0.5");
        assert_eq!(signed(0.00001, 1), "0.0");
        assert_eq!(signed(-0.5, 1), "\u{2212}0.5");
        assert_eq!(or_dash(None, 2), "\u{2013}");
        assert_eq!(percent(0.125, 1), "12.5 %");
        for (value, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(count(value), expected);
        }
    }
}
