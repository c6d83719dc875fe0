import Testing

@testable import MachineManager

/// The same numbers on every run.
private struct Xorshift: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

/// Writes command lines that are half right: known names in wrong places, numbers at limits, and garbage.
private struct Scribbler {
    var random: Xorshift
    private let options = OptionTable.all
    private static let values = [
        "", "on", "off", "auto", "0", "1", "2", "3", "16", "31", "254", "255", "256", "4096", "65535", "4294967295", "4294967296",
        "18446744073709551615", "18446744073709551616", "-1", "0x10", "1G", "512G", "99999999999G", "18014398509481984K", "M", "a", "b", "n", "t",
        "3:4", "3:3", ":", "::", "52:54:00:12:34:56", "unix:/s", "tcp:1.2.3.4:5", "tcp:::", "chardev:a", "chardev:", "=", ",", "\u{0}", "\u{1b}[2J",
        "\u{202e}", "👩‍👩‍👧‍👦", "e\u{301}", "0-3:8", "[0]", "3-1", "0-253", "bind", "128M", "m", "microvm", "none", "native", "threads", "host", "kvm", "control", "stdio", "socket",
        String(repeating: "x", count: 37), String(repeating: "y", count: 256), String(repeating: "z", count: 5000),
    ]

    init(seed: UInt64) { random = Xorshift(state: seed) }

    mutating func value() -> String { Self.values.randomElement(using: &random) ?? "" }

    private mutating func parameters(_ known: [ParameterSpec]) -> [String] {
        (0..<Int.random(in: 0...6, using: &random)).map { _ in
            let key = Int.random(in: 0..<10, using: &random) == 0 ? value() : known.randomElement(using: &random)?.key ?? value()
            return switch Int.random(in: 0..<12, using: &random) {
            case 0: key
            case 1: "\(key)="
            case 2: "\(key)==\(value())"
            default: "\(key)=\(value())"
            }
        }
    }

    mutating func words() -> [String] {
        var words = Bool.random(using: &random) ? ["-kernel", "k", "-initrd", "i"] : []
        for _ in 0..<Int.random(in: 1...10, using: &random) {
            guard let spec = options.randomElement(using: &random) else { continue }
            words.append("-" + spec.name)
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                var tokens: [String] = []
                switch spec.head {
                case .variants(_, let variants):
                    guard let variant = variants.filter(\.isSupported).randomElement(using: &random) else { continue }
                    tokens = [variant.name] + parameters(variant.parameters)
                case .whole: tokens = [value()]
                case .none: tokens = parameters(spec.parameters)
                case .implied, .address: tokens = [value()] + parameters(spec.parameters)
                }
                words.append(tokens.joined(separator: ","))
            }
        }
        return words
    }
}

/// Command lines come from programs that took parts of them from others. None may do more harm than a message.
@Suite struct HostileCommandLineTests {
    @Test(arguments: 1...8)
    func garbage_givesOneSentence_andNeverTraps(_ seed: UInt64) {
        var scribbler = Scribbler(seed: seed &* 0x9e37_79b9_7f4a_7c15)
        var accepted = 0
        for _ in 0..<1500 {
            let words = scribbler.words()
            do {
                if case .run(let config) = try CommandLineParser.parse(words) {
                    accepted += 1
                    #expect(Set(config.devices.map(\.id)).count == config.devices.count)
                    #expect(config.nodes.isEmpty || config.nodeMemory.reduce(0) { $0 + $1.size } == config.memory.size)
                    #expect(config.summary.utf8.count < 1 << 16 && config.unusedParts(on: .x86_64).count < 100)
                }
            } catch {
                let text = error.description
                #expect(!text.isEmpty && text.utf8.count < 600, "\(words)")
                #expect(!text.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7f }, "\(words)")
            }
        }
        // Else the test would only ever see the first check.
        #expect(accepted > 0)
    }

    @Test func garbageArguments_ofCommands_giveOneSentence_andNeverTrap() {
        var scribbler = Scribbler(seed: 0xfeed_5eed)
        for round in 0..<4000 {
            let tables = [OptionTable.drive, OptionTable.tap, OptionTable.virtioBlock.parameters, OptionTable.virtioNet.parameters]
            let table = tables[round % tables.count]
            let arguments = (0..<Int.random(in: 0...6, using: &scribbler.random)).map { _ in
                QMPParameter(table.randomElement(using: &scribbler.random)?.key ?? "", name: "some.name", scribbler.value())
            }
            do {
                switch round % tables.count {
                case 0: _ = try VmConfig.Drive(command: "blockdev-add", arguments)
                case 1: _ = try VmConfig.Netdev(command: "netdev_add", arguments)
                case 2: _ = try VmConfig.VirtioBlock(command: "device_add", arguments)
                default: _ = try VmConfig.VirtioNet(command: "device_add", arguments)
                }
            } catch {
                #expect(error.description.utf8.count < 600)
                #expect(!error.description.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7f })
            }
        }
    }

    @Test func controlCharacters_neverReachTheTerminal() {
        let evil = "\u{1b}]0;x\u{7}\n\u{9b}"
        for words in [["-device", evil], ["-drive", "id=d,file=f,\(evil)"], ["-drive", "id=d,file=f,aio=\(evil)"], ["-netdev", "tap,id=n,ifname=\(evil)"]] {
            #expect(!message(words).unicodeScalars.contains { $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) })
        }
    }
}
