/// What the command line asks for.
public enum CommandLineRequest: Equatable, Sendable {
    case run(VmConfig)
    /// Print `CommandLineParser.helpText` on standard output and exit with status 0.
    case help
    /// Print `CommandLineParser.versionText(commit:)` on standard output and exit with status 0.
    case version
}

/// QEMU-style command lines: options start with one dash, values are the words after them. Opens no file. Any thread.
public enum CommandLineParser {
    /// Reads the words after the program's name. Help and version win over everything that follows them.
    public static func parse(_ words: [String]) throws(CommandLineError) -> CommandLineRequest {
        let table = OptionTable.all
        var builder = VmConfigBuilder()
        var seen: [String] = []
        var rest = words[...]
        while let word = rest.popFirst() {
            let spec = try option(for: word, in: table)
            switch spec.id {
            case .help: return .help
            case .version: return .version
            case .unsupported: throw .notSupportedYet(subject: word)
            default: break
            }
            // A word that begins with a dash is never a value.
            let values = Array(rest.prefix { !$0.utf8.starts(with: "-".utf8) })
            rest = rest.dropFirst(values.count)
            try checkArity(spec, values, isRepeated: seen.contains(spec.name))
            seen.append(spec.name)
            if spec.id == .serial, let value = values.first, value.hasPrefix("chardev:") {
                try builder.setSerial(named: String(value.dropFirst("chardev:".count)))
            } else {
                try builder.add(spec, values)
            }
        }
        return .run(try builder.finish())
    }

    private static func option(for word: String, in table: [OptionSpec]) throws(CommandLineError) -> OptionSpec {
        let name = word.dropFirst()
        // No option of this program may be written `--name=value`.
        guard word.hasPrefix("-"), !name.hasPrefix("-") else { throw .unexpectedArgument(word) }
        guard let spec = table.first(where: { $0.name == name }) else { throw .unknownOption(word) }
        return spec
    }

    private static func checkArity(_ spec: OptionSpec, _ values: [String], isRepeated: Bool) throws(CommandLineError) {
        // The options that are ignored are none of our business, however often they come.
        if isRepeated, spec.arity != .many, spec.id != .ignored { throw .repeated(option: spec.name) }
        let most: Int =
            switch spec.arity {
            case .flag: 0
            case .one, .optional: 1
            case .many: .max
            }
        if values.count > most, let extra = values.dropFirst(most).first { throw .extraValue(option: spec.name, word: extra) }
        if values.isEmpty, spec.arity == .one || spec.arity == .many { throw .missingValue(option: spec.name) }
    }
}
