/// A bare-metal guest of a few instructions in 64-bit mode, loaded as a flat binary: small enough for a host whose KVM emulates every instruction.
struct Payload {
    private(set) var bytes: [UInt8] = []

    static let serialPort: UInt16 = 0x3f8

    /// mov dx, port; mov al, value; out dx, al
    func out(_ port: UInt16, _ value: UInt8) -> Payload { adding([0x66, 0xba, UInt8(port & 0xff), UInt8(port >> 8), 0xb0, value, 0xee]) }

    /// mov dx, port; in al, dx; mov dx, 0x3f8; out dx, al
    func echoPort(_ port: UInt16) -> Payload {
        adding([0x66, 0xba, UInt8(port & 0xff), UInt8(port >> 8), 0xec, 0x66, 0xba, 0xf8, 0x03, 0xee])
    }

    func print(_ text: String) -> Payload { text.utf8.reduce(self) { $0.out(Self.serialPort, $1) } }

    /// Waits for a received byte (LSR bit 0) and sends it back plus one, for ever.
    /// again: mov dx, 0x3fd; in al, dx; test al, 1; jz again; mov dx, 0x3f8; in al, dx; inc al; out dx, al; jmp again
    func echoSerialPlusOne() -> Payload {
        adding([0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7, 0x66, 0xba, 0xf8, 0x03, 0xec, 0xfe, 0xc0, 0xee, 0xeb, 0xed])
    }

    /// Prints `character` without end, with a delay loop in between.
    /// again: mov dx, 0x3f8; mov al, c; out dx, al; mov ecx, 200; wait: dec ecx; jnz wait; jmp again
    func chatter(_ character: Character) -> Payload {
        adding([0x66, 0xba, 0xf8, 0x03, 0xb0, character.asciiValue ?? 0x2e, 0xee, 0xb9, 200, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0xeb, 0xee])
    }

    /// jmp to itself
    func spin() -> Payload { adding([0xeb, 0xfe]) }

    /// Through the keyboard controller, as Linux does with reboot=k.
    func reset() -> Payload { out(0x64, 0xfe).spin() }

    /// lidt of an empty table, then an undefined instruction. The limit and base are read from the zero word that follows.
    /// lidt [rip+2]; ud2; 10 zero bytes
    func tripleFault() -> Payload { adding([0x0f, 0x01, 0x1d, 0x02, 0, 0, 0, 0x0f, 0x0b] + [UInt8](repeating: 0, count: 10)) }

    /// Maps 2 MiB at 0xe0000000 (nothing) and 0xf0000000 (the devices): the boot page tables, whose PDPT is at 0xa000, end at 1 GiB. A page directory is
    /// made at 0xc000.
    func mapDevices() -> Payload { storing(0xc003, at: 0xa018).storing(0xe000_0083, at: 0xc800).storing(0xf000_0083, at: 0xcc00) }

    /// mov eax, value (zero-extended); mov [address], rax
    func storing(_ value: UInt32, at address: UInt32) -> Payload {
        adding([0xb8] + Self.littleEndian(value) + [0x48, 0x89, 0x04, 0x25] + Self.littleEndian(address))
    }

    private static func littleEndian(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }

    /// mov eax, address (zero-extended); mov dword [rax], value
    func writeWord(_ value: UInt32, at address: UInt32) -> Payload { adding([0xb8] + Self.littleEndian(address) + [0xc7, 0x00] + Self.littleEndian(value)) }

    /// mov eax, address (zero-extended); mov eax, [rax]; then the four bytes on the serial port, lowest first.
    func printWord(at address: UInt32) -> Payload {
        let load = adding([0xb8] + Self.littleEndian(address) + [0x8b, 0x00, 0x66, 0xba, 0xf8, 0x03])
        return (0..<4).reduce(load) { payload, _ in payload.adding([0xee, 0xc1, 0xe8, 0x08]) }
    }

    /// Takes a byte that comes in on the serial port.
    /// again: mov dx, 0x3fd; in al, dx; test al, 1; jz again; mov dx, 0x3f8; in al, dx
    func waitForInput() -> Payload { adding([0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7, 0x66, 0xba, 0xf8, 0x03, 0xec]) }

    /// After each byte that comes in on the serial port: the word at each address, lowest byte first. For ever.
    /// again: mov dx, 0x3fd; in al, dx; test al, 1; jz again; mov dx, 0x3f8; in al, dx; ...; jmp again
    func printWordsOnInput(at addresses: [UInt32]) -> Payload {
        let wait: [UInt8] = [0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7, 0x66, 0xba, 0xf8, 0x03, 0xec]
        let words = addresses.reduce(Payload()) { $0.printWord(at: $1) }
        let distance = Int32(truncatingIfNeeded: -(wait.count + words.bytes.count + 5))
        return adding(wait + words.bytes + [0xe9] + Self.littleEndian(UInt32(bitPattern: distance)))
    }

    private func adding(_ code: [UInt8]) -> Payload {
        var copy = self
        copy.bytes += code
        return copy
    }
}
