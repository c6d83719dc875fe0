extension QMPCommand {
    /// There is no migration yet; these say so in the words of a machine that has not migrated.
    static var migration: [QMPCommand] {
        [
            QMPCommand("query-migrate", gives: .object([.optional("status", .choice(["none"]))])) { _, _ in .value(["status": "none"]) },
            QMPCommand("query-migrate-capabilities", gives: .list(.object([.required("capability", .text), .required("state", .boolean)]))) { _, _ in
                .value([])
            },
            // As in QEMU: there being nothing to cancel is no error.
            QMPCommand("migrate_cancel") { _, _ in .done },
        ]
    }
}
