import Foundation
import Testing

@testable import MachineManager

/// docs/options.md, -help and the parser say the same. A failure prints what the page should say.
@Suite struct OptionManualTests {
    /// Text by the heading that it stands under.
    private let sections: [String: String]
    private let page: String

    init() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../..")
        page = try String(contentsOf: root.appending(path: "docs/options.md"), encoding: .utf8)
        var found: [String: String] = [:]
        var heading = ""
        var isCode = false
        for line in page.components(separatedBy: "\n") {
            if line.hasPrefix("```") { isCode.toggle() }
            if line.hasPrefix("#"), !isCode {
                heading = String(line.drop { $0 == "#" }).trimmingCharacters(in: .whitespaces).replacingOccurrences(of: "`", with: "")
                #expect(found[heading] == nil, "the heading \(heading) comes twice")
                found[heading] = ""
            } else {
                found[heading, default: ""] += line + "\n"
            }
        }
        sections = found
    }

    /// The table of some parameters, as the page must have it.
    private func table(_ parameters: [ParameterSpec]) -> String {
        var text = "| Parameter | Value | Meaning |\n|---|---|---|\n"
        for parameter in parameters {
            let values = CommandLineParser.values(parameter).replacingOccurrences(of: "|", with: "\\|")
            let note = CommandLineParser.note(parameter).replacingOccurrences(of: "|", with: "\\|")
            text += "| `\(parameter.key)` | \(values) | \(note) |\n"
        }
        return text
    }

    private func variants(_ spec: OptionSpec) -> [OptionVariant] {
        if case .variants(_, let variants) = spec.head { variants } else { [] }
    }

    /// The options and kinds that have a section.
    private var expected: [(heading: String, parameters: [ParameterSpec])] {
        OptionTable.all.flatMap { spec -> [(heading: String, parameters: [ParameterSpec])] in
            switch spec.id {
            case .ignored, .unsupported: []
            case .serial: [("-serial", [])]
            case .chardev: [("-chardev", [])] + variants(spec).map { ("-chardev \($0.name)", $0.parameters) }
            case .device, .object, .netdev, .numa: variants(spec).filter(\.isSupported).map { ("-\(spec.name) \($0.name)", $0.parameters) }
            default: [("-\(spec.name)", spec.parameters)]
            }
        }
    }

    @Test func everyOption_hasItsSectionAndTable() {
        for (heading, parameters) in expected {
            guard let section = sections[heading] else {
                Issue.record("docs/options.md has no section \(heading)")
                continue
            }
            let rows = section.components(separatedBy: "\n").filter { $0.hasPrefix("|") }.map { $0 + "\n" }.joined()
            let wanted = parameters.isEmpty ? "" : table(parameters)
            #expect(rows == wanted, "the table under \(heading) must be:\n\(wanted)")
        }
    }

    @Test func noSection_isAboutAnOptionThatIsNotThere() {
        let known = Set(expected.map(\.heading))
        for heading in sections.keys where heading.hasPrefix("-") { #expect(known.contains(heading), "\(heading)") }
    }

    /// Every word that looks like an option is one.
    @Test func noText_namesAnOptionThatIsNotThere() {
        let known = Set(OptionTable.all.map { "-" + $0.name })
        for piece in page.components(separatedBy: "`") where piece.hasPrefix("-") && !piece.hasPrefix("-2") {
            let word = piece.prefix { !" \n,=".contains($0) }
            #expect(known.contains(String(word)), "\(piece)")
        }
    }

    @Test func lists_areComplete() {
        func list(_ names: [String]) -> String { names.map { "`\($0)`" }.joined(separator: ", ") }
        func words(_ text: String) -> String { text.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
        func names(_ id: OptionID) -> [String] { OptionTable.all.filter { $0.id == id }.map { "-" + $0.name } }
        let text = words(page)
        #expect(text.contains(list(names(.ignored)) + "."), "\(list(names(.ignored)))")
        #expect(text.contains("Options: " + list(names(.unsupported)) + "."), "\(list(names(.unsupported)))")
        for spec in OptionTable.all {
            let later = variants(spec).filter { !$0.isSupported }.map(\.name)
            if !later.isEmpty { #expect(text.contains("`-\(spec.name)`: " + list(later) + "."), "\(list(later))") }
        }
    }

    @Test func serial_takesWhatChardevTakes_exceptTheId() {
        func kinds(_ id: OptionID) -> [String: [String]] {
            var found: [String: [String]] = [:]
            for spec in OptionTable.all where spec.id == id {
                for variant in variants(spec) { found[variant.name] = variant.parameters.map(\.key).filter { $0 != "id" } }
            }
            return found
        }
        #expect(!kinds(.serial).isEmpty && kinds(.serial) == kinds(.chardev))
    }

    /// The examples of the page; each line of one that begins with a dash is a command line of its own, less what every machine needs.
    private var examples: [[String]] {
        var found: [[String]] = []
        for (index, block) in page.components(separatedBy: "```").enumerated() where index % 2 == 1 {
            let body = block.replacingOccurrences(of: "\\\n", with: " ").split(separator: "\n").dropFirst()
            for line in body {
                var words: [String] = []
                for (index, piece) in line.components(separatedBy: "\"").enumerated() {
                    if index % 2 == 1 { words.append(piece) } else { words += piece.split(separator: " ").map(String.init) }
                }
                found.append(words)
            }
        }
        return found
    }

    @Test func everyExample_isACommandLine() {
        #expect(examples.count >= 15)
        for var words in examples {
            if words.first == "stratovirt" { words.removeFirst() }
            if !words.contains("-kernel") { words += ["-kernel", "k", "-initrd", "i"] }
            do {
                guard case .run(let config) = try CommandLineParser.parse(words) else { return #expect(Bool(false)) }
                #expect(config.unusedParts(on: .x86_64).isEmpty || words.contains("-device") == false, "\(words)")
            } catch {
                Issue.record("\(words): \(error)")
            }
        }
    }

    /// -help names each parameter with its limits and its meaning.
    @Test func help_hasEveryParameterWithItsMeaning() {
        let words = CommandLineParser.helpText.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        for spec in OptionTable.all {
            for parameter in spec.parameters + variants(spec).flatMap(\.parameters) {
                if case .misplaced = parameter.kind { continue }
                let note = CommandLineParser.note(parameter)
                if case .flag = parameter.kind {
                    #expect(words.contains("\(parameter.key) \(note)"))
                } else {
                    #expect(words.contains("\(parameter.key)=\(CommandLineParser.values(parameter)) \(note)"), "\(parameter.key)")
                }
            }
        }
        #expect(words.contains("bus, addr, multifunction refused: for PCI devices"))
    }

    @Test func help_fitsATerminal_exceptForALongMeaning() {
        for line in CommandLineParser.helpText.split(separator: "\n") { #expect(line.utf8.count <= 150, "\(line)") }
    }
}
