extension CommandLineParser {
    /// One line for `-version`, as StratoVirt writes it. `commit` names the source that the program was built from.
    public static func versionText(commit: String) -> String { "StratoVirt \(ProductVersion.text) commit-id \(commit)\n" }

    /// The text of `-help`, made from the option table.
    public static var helpText: String {
        var text = """
            Usage: stratovirt -kernel FILE [options]
            Boots a Linux microVM on KVM.

            (N) after a value: at most N bytes. on and off may be written true or yes and false or no.

            Options:

            """
        let table = OptionTable.all
        for spec in table where spec.id != .ignored && spec.id != .unsupported { text += entry(spec) }
        text += "\nAccepted and ignored:\n" + list(table, .ignored)
        text += "\nKnown but not supported yet:\n" + list(table, .unsupported)
        return text
    }

    private static func list(_ table: [OptionSpec], _ id: OptionID) -> String {
        var text = ""
        var line = " "
        for spec in table where spec.id == id {
            if line.utf8.count + spec.name.utf8.count > 76 {
                text += line + "\n"
                line = " "
            }
            line += " -" + spec.name
        }
        return text + line + "\n"
    }

    private static func entry(_ spec: OptionSpec) -> String {
        var text = row("  -" + spec.name + valueText(spec), spec.help) + rows(spec.parameters)
        guard case .variants(_, let variants) = spec.head else { return text }
        for variant in variants where variant.isSupported {
            text += row("    " + variant.name, variant.help) + rows(variant.parameters)
        }
        let later = variants.filter { !$0.isSupported }
        var line = "    not supported yet:"
        for variant in later {
            if line.utf8.count + variant.name.utf8.count > 78 {
                text += line + "\n"
                line = "       "
            }
            line += " " + variant.name
        }
        return later.isEmpty ? text : text + line + "\n"
    }

    /// One line for each parameter, and one for all that are refused for the same reason.
    private static func rows(_ parameters: [ParameterSpec]) -> String {
        var text = ""
        var refused = ""
        var reason = ""
        for parameter in parameters {
            if case .misplaced = parameter.kind {
                refused += (refused.isEmpty ? "      " : ", ") + parameter.key
                reason = note(parameter)
            } else {
                text += row("      " + syntax(parameter), note(parameter))
            }
        }
        return refused.isEmpty ? text : text + row(refused, reason)
    }

    /// Two columns, or two lines where the first is too wide.
    private static func row(_ left: String, _ right: String) -> String {
        let column = 34
        guard !right.isEmpty else { return left + "\n" }
        let width = left.utf8.count
        let gap = width < column ? String(repeating: " ", count: column - width) : "\n" + String(repeating: " ", count: column)
        return left + gap + right + "\n"
    }

    private static func valueText(_ spec: OptionSpec) -> String {
        if spec.arity == .flag { return "" }
        let value: String =
            switch spec.head {
            case .whole(let placeholder): placeholder
            case .none: "KEY=VALUE[,...]"
            case .implied(let key): "[\(key)=]VALUE[,...]"
            case .variants(let what, _): (what.split(separator: " ").last ?? "").utf8.map { String(UnicodeScalar($0 & 0xdf)) }.joined() + "[,...]"
            case .address(let placeholder): placeholder + ",..."
            }
        return spec.arity == .optional ? " [\(value)]" : " \(value)"
    }

    private static func syntax(_ parameter: ParameterSpec) -> String {
        if case .flag = parameter.kind { return parameter.key }
        return "\(parameter.key)=\(values(parameter))"
    }

    /// What a parameter may be, for people.
    static func values(_ parameter: ParameterSpec) -> String {
        switch parameter.kind {
        case .onOff, .flag: "on|off"
        case .onlyOff: "off"
        case .integer(let limits): range(limits)
        case .powerOfTwo(let limits): "\(range(limits)) (power of two)"
        case .integerOrAuto(let limits): "auto|\(range(limits))"
        case .address: "ADDRESS"
        case .size(let limits): "\(sizeText(limits.lowerBound))..\(sizeText(limits.upperBound))"
        case .numbers(let limits): "LIST (\(range(limits)))"
        case .text(let limit): "TEXT (\(limit))"
        case .path(let limit): limit == OptionLimit.path ? "FILE" : "FILE (\(limit))"
        case .choice(let words, _): words.joined(separator: "|")
        case .descriptor: "FD"
        case .descriptors: "FD[:FD...]"
        case .interface: "NAME (\(OptionLimit.interface))"
        case .mac: "XX:XX:XX:XX:XX:XX"
        case .ignored: "..."
        case .unsupported, .misplaced: ""
        }
    }

    private static func range(_ limits: ClosedRange<UInt64>) -> String {
        limits.upperBound == .max ? "NUMBER" : "\(limits.lowerBound)..\(limits.upperBound)"
    }

    /// What `-help` and the manual say about a parameter.
    static func note(_ parameter: ParameterSpec) -> String {
        var notes: [String] = []
        if parameter.isRequired { notes.append("required") }
        if !parameter.help.isEmpty { notes.append(parameter.help) }
        if case .choice(_, let later) = parameter.kind, !later.isEmpty { notes.append("not yet: \(later.joined(separator: ", "))") }
        if case .onlyOff = parameter.kind { notes.append("not yet: on") }
        if case .unsupported = parameter.kind { notes.append("not supported yet") }
        if case .misplaced(let reason) = parameter.kind { notes.append("refused: \(reason)") }
        return notes.joined(separator: "; ")
    }
}
