//! Rows and columns in a box.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table as Box};
use comfy_table::{ContentLineStyle, LineStyle, TableStyle};

/// Rows under headings.
pub struct Table {
    /// The headings; shown in capitals.
    pub header: Vec<&'static str>,
    /// As many cells in each as there are headings.
    pub rows: Vec<Vec<String>>,
}

/// A box with a line under the headings and none between rows.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┌', '─', '┬', '┐'))
    .header_lines(ContentLineStyle::new('│', '│', '│'))
    .header_separator(LineStyle::new('├', '─', '┼', '┤'))
    .content_lines(ContentLineStyle::new('│', '│', '│'))
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

impl Table {
    /// The rows, a line each.
    pub fn lines(&self) -> Vec<u8> {
        self.rows.iter().flat_map(|row| (row.join(", ") + "\n").into_bytes()).collect()
    }

    /// The box.
    pub fn text(&self) -> String {
        let style =
            if self.rows.is_empty() { STYLE.header_separator(LineStyle::none()) } else { STYLE };
        let mut table = Box::new();
        table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header((0..self.header.len()).map(|column| Cell::new(self.heading(column))));
        for row in &self.rows {
            let cell = |text: &String| Cell::new(text.trim()).set_alignment(CellAlignment::Right);
            table.add_row(row.iter().map(cell));
        }
        format!("{table}\n")
    }

    /// A heading in the middle of its column, rather to the left.
    fn heading(&self, column: usize) -> String {
        let name = self.header[column].replace('_', " ").to_uppercase();
        let width =
            self.rows.iter().map(|row| row[column].trim().chars().count()).max().unwrap_or(0);
        format!("{name:^width$}")
    }
}
