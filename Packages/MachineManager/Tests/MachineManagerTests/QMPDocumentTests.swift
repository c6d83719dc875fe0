import Foundation
import Testing

@testable import MachineManager

/// docs/qmp.md, held against the commands and events that there are.
@Suite struct QMPDocumentTests {
    private let lines: [String]

    init() throws {
        var folder = URL(fileURLWithPath: #filePath)
        for _ in 0..<5 { folder.deleteLastPathComponent() }
        lines = try String(contentsOf: folder.appendingPathComponent("docs/qmp.md"), encoding: .utf8).components(separatedBy: "\n")
    }

    /// The lines below a heading, up to the next one.
    private func section(_ heading: String) -> [String]? {
        guard let start = lines.firstIndex(of: heading) else { return nil }
        return Array(lines[(start + 1)...].prefix { !$0.hasPrefix("#") })
    }

    /// The cells of a table's rows that begin with code.
    private func rows(_ section: [String]) -> [[String]] {
        section.filter { $0.hasPrefix("| `") }.map { line in
            line.components(separatedBy: "|").dropFirst().map { $0.trimmingCharacters(in: .whitespaces) }
        }
    }

    private func expectedRows(_ members: [QMPMember], _ prefix: String = "") -> [[String]] {
        members.flatMap { member -> [[String]] in
            let row = ["`\(prefix)\(member.name)`", phrase(member.type), member.isRequired ? "yes" : "no"]
            guard case .object(let inner) = member.type else { return [row] }
            return [row] + expectedRows(inner, "\(prefix)\(member.name).")
        }
    }

    private func phrase(_ type: QMPType) -> String {
        switch type {
        case .any: "any"
        case .boolean: "boolean"
        case .string: "string"
        case .integer: "whole number"
        case .number: "number"
        case .choice(let words): words.map { "`\($0)`" }.joined(separator: ", ")
        case .onOff: "switch"
        case .numeric: "whole number or string"
        case .size: "size"
        case .list(let element): "list of \(phrase(element))"
        case .object: "object"
        }
    }

    @Test(arguments: QMPCommand.all.map(\.name))
    func command_isDescribedWithItsArguments(_ name: String) throws {
        let command = try #require(QMPCommand.named(name))
        let section = try #require(self.section("### `\(name)`"))
        #expect(section.contains { !$0.isEmpty && !$0.hasPrefix("|") })
        let rows = self.rows(section)
        // In any order: the page puts what matters first.
        #expect(Set(rows.map { $0.prefix(3).joined(separator: " / ") }) == Set(expectedRows(command.arguments()).map { $0.joined(separator: " / ") }))
        #expect(rows.count == expectedRows(command.arguments()).count)
    }

    @Test func nothingElseIsDescribed() {
        let described = lines.filter { $0.hasPrefix("### ") }.map { $0.dropFirst(5).dropLast() }.map(String.init)
        #expect(described.sorted() == QMPCommand.all.map(\.name).sorted())
    }

    @Test func events_areDescribedWithTheirData() throws {
        let rows = self.rows(try #require(self.section("## Events")))
        #expect(rows.map { $0[0] } == QMPEvent.all.map { "`\($0.name)`" })
        #expect(rows.map { $0[1] } == QMPEvent.all.map { $0.data.map { "`\($0.name)`" }.joined(separator: ", ") })
    }

    @Test func classesOfErrors_areDescribed() throws {
        let rows = self.rows(try #require(self.section("## Requests and answers")))
        #expect(
            rows.map { $0[0] } == [
                "`GenericError`", "`CommandNotFound`", "`DeviceNotFound`", "`DeviceNotActive`", "`KVMMissingCap`", "`OperationThrottled`",
            ])
    }

    @Test func limits_areThoseOfTheServer() {
        let text = lines.joined(separator: "\n")
        #expect(text.contains("At most \(QMPDescriptors.limit) are kept") && text.contains("more than \(QMPConnection.descriptorLimit) without"))
        #expect(text.contains("takes \(QMPRateLimit.standard) commands at once and \(QMPRateLimit.standard) a second"))
        #expect(text.contains("last \(QMPConnection.eventLimit) events are kept"))
        #expect(text.contains("at most \(JSONLimits().length >> 10) KiB long and \(JSONLimits().depth) levels deep"))
        #expect(text.contains("at most \(OptionLimit.text) bytes long, paths \(OptionLimit.path)"))
        #expect(text.contains("A microVM with QMP has \(MachineSlots.block) slots for disks and \(MachineSlots.net) for network interfaces"))
    }

    /// The sessions on the page are JSON, and what the client sends is answered as the page says.
    @Test func sessions_workAsWritten() throws {
        let desk = Desk()
        let machine = desk.machine
        try machine.resume()
        var seen = 0
        for line in lines where line.hasPrefix("    -> ") {
            let request = String(line.dropFirst(7))
            guard let index = lines.firstIndex(of: line), let answer = lines[(index + 1)...].first(where: { $0.hasPrefix("    <- ") }) else { continue }
            let reply = desk.reply(request)
            var text: [UInt8] = []
            switch reply.result {
            case .success(let value): (["return": value.value] as JSONValue).write(to: &text)
            case .failure(let error): (["error": error.json] as JSONValue).write(to: &text)
            }
            let expected = String(answer.dropFirst(7))
            let said = String(decoding: text.dropLast(), as: UTF8.self)
            if request.contains("query-chardev") {
                #expect(expected.contains("\"label\":\"serial_chardev\"") && said.contains("\"label\":\"serial_chardev\""))
            } else {
                #expect(expected == said + (reply.id == nil ? "}" : ",\"id\":7}"), "\(request)")
            }
            seen += 1
        }
        #expect(seen >= 10)
    }
}
