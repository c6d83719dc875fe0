extension QMPCommand {
    static var character: [QMPCommand] {
        [
            QMPCommand("query-chardev", gives: .list(chardev)) { _, context in
                .value(
                    .array(
                        context.control.chardevs().map {
                            ["label": .string($0.id), "filename": .string($0.filename), "frontend-open": .bool($0.isOpen)]
                        }))
            },
            QMPCommand("query-tpm-models", gives: .list(.text)) { _, _ in .value([]) },
            QMPCommand("query-tpm-types", gives: .list(.text)) { _, _ in .value([]) },
        ]
    }

    private static var chardev: QMPType {
        .object([.required("label", .text), .required("filename", .text), .required("frontend-open", .boolean)])
    }
}
