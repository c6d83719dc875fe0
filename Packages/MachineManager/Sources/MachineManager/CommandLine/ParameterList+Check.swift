internal import LinuxSys

extension ParameterList {
    /// The value of one parameter, by the rules of its kind.
    func check(_ spec: ParameterSpec, _ text: String?) throws(CommandLineError) -> Value {
        let key = spec.key
        switch spec.kind {
        case .unsupported: throw notSupportedYet(label(key))
        case .misplaced(let reason): throw invalid("\(label(key)) is \(reason)")
        case .flag where text == nil: return .bool(true)
        case .ignored: return .text(text ?? "")
        default: break
        }
        guard let text, !text.isEmpty else { throw invalid("\(label(key)) needs a value") }
        switch spec.kind {
        case .onOff, .flag:
            return .bool(try onOff(key, text))
        case .onlyOff:
            guard try !onOff(key, text) else { throw notSupportedYet(label(key, is: text)) }
            return .bool(false)
        case .integer(let limits):
            return .number(try integer(key, text, limits))
        case .powerOfTwo(let limits):
            return .number(try powerOfTwo(key, text, limits))
        case .integerOrAuto(let limits):
            return .number(text == "auto" ? 0 : try integer(key, text, limits))
        case .size(let limits):
            return .number(try size(key, text, limits))
        case .numbers(let limits):
            return .numbers(try numbers(key, text, limits))
        case .address:
            return .number(try address(key, text))
        case .text(let limit), .path(let limit):
            return .text(try bounded(key, text, limit))
        case .choice(let now, let later):
            return .text(try choice(key, text, now, later))
        case .descriptor, .descriptors:
            return .text(try bounded(key, text, OptionLimit.path))
        case .interface:
            guard isInterfaceName(text) else {
                throw invalid("\(label(key)) must be the name of a network interface, of at most \(OptionLimit.interface) bytes, not \(quoted(text))")
            }
            return .text(text)
        case .mac:
            return .number(try stationAddress(key, text).bits)
        case .ignored, .unsupported, .misplaced:
            return .text(text)
        }
    }

    private func bounded(_ key: String, _ text: String, _ limit: Int) throws(CommandLineError) -> String {
        guard text.utf8.count <= limit else { throw invalid("\(label(key)) is longer than \(limit) bytes") }
        // Every one of these ends up in a path, a message or the guest's configuration, and a C string ends at NUL.
        guard !text.utf8.contains(0) else { throw invalid("\(label(key)) contains a NUL byte") }
        return text
    }

    private func onOff(_ key: String, _ text: String) throws(CommandLineError) -> Bool {
        switch text {
        case "on", "true", "yes", "unmap": true
        case "off", "false", "no", "ignore": false
        default: throw invalid("\(label(key)) must be on or off, not \(quoted(text))")
        }
    }

    private func integer(_ key: String, _ text: String, _ limits: ClosedRange<UInt64>) throws(CommandLineError) -> UInt64 {
        guard let number = decimal(text[...].utf8), limits.contains(number) else {
            let rule = limits.upperBound == .max ? "at least \(limits.lowerBound)" : "a number from \(limits.lowerBound) to \(limits.upperBound)"
            throw invalid("\(label(key)) must be \(rule), not \(quoted(text))")
        }
        return number
    }

    private func powerOfTwo(_ key: String, _ text: String, _ limits: ClosedRange<UInt64>) throws(CommandLineError) -> UInt64 {
        guard let number = decimal(text[...].utf8), limits.contains(number), number.nonzeroBitCount == 1 else {
            throw invalid("\(label(key)) must be a power of two from \(limits.lowerBound) to \(limits.upperBound), not \(quoted(text))")
        }
        return number
    }

    private func size(_ key: String, _ text: String, _ limits: ClosedRange<UInt64>) throws(CommandLineError) -> UInt64 {
        let unit: UInt64? =
            switch text.utf8.last {
            case UInt8(ascii: "K"), UInt8(ascii: "k"): 1 << 10
            case UInt8(ascii: "M"), UInt8(ascii: "m"): 1 << 20
            case UInt8(ascii: "G"), UInt8(ascii: "g"): 1 << 30
            default: nil
            }
        guard let number = decimal(text[...].utf8.dropLast(unit == nil ? 0 : 1)) else {
            throw invalid("\(label(key)) must be a size such as 512M or 2G, not \(quoted(text))")
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit ?? 1 << 20)
        guard !overflow, limits.contains(bytes) else {
            throw invalid("\(label(key)) must be from \(sizeText(limits.lowerBound)) to \(sizeText(limits.upperBound)), not \(quoted(text))")
        }
        return bytes
    }

    private func numbers(_ key: String, _ text: String, _ limits: ClosedRange<UInt64>) throws(CommandLineError) -> [UInt64] {
        let inner = text.hasPrefix("[") && text.hasSuffix("]") ? text.dropFirst().dropLast() : text[...]
        // By number, so that a list that names one a thousand times costs no memory. The limits of lists are small.
        var isNamed = [Bool](repeating: false, count: Int(clamping: limits.upperBound) + 1)
        for item in inner.split(separator: ":", omittingEmptySubsequences: false) {
            let ends = item.split(separator: "-", omittingEmptySubsequences: false).map { decimal($0.utf8) }
            guard ends.count <= 2, let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last, limits.contains(first), limits.contains(last)
            else {
                throw invalid("\(label(key)) must be a list such as 0-1:4 of numbers from \(limits.lowerBound) to \(limits.upperBound), not \(quoted(text))")
            }
            for number in first...last { isNamed[Int(number)] = true }
        }
        return isNamed.indices.filter { isNamed[$0] }.map(UInt64.init)
    }

    private func address(_ key: String, _ text: String) throws(CommandLineError) -> UInt64 {
        guard let number = hexadecimal(text) ?? decimal(text[...].utf8), number < 1 << 52 else {
            throw invalid("\(label(key)) must be an address such as 0x100000000, below 2^52, not \(quoted(text))")
        }
        return number
    }

    private func choice(_ key: String, _ text: String, _ now: [String], _ later: [String]) throws(CommandLineError) -> String {
        let word = asciiLowercased(text)
        if now.contains(word) { return word }
        guard !later.contains(word) else { throw notSupportedYet(label(key, is: word)) }
        throw invalid("\(label(key)) must be \(alternatives(now)), not \(quoted(text))")
    }

    private func alternatives(_ words: [String]) -> String {
        guard words.count > 1, let last = words.last else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " or " + last
    }

    private func stationAddress(_ key: String, _ text: String) throws(CommandLineError) -> MACAddress {
        guard let address = MACAddress(text) else {
            throw invalid("\(label(key)) must be an address such as 52:54:00:12:34:56, not \(quoted(text))")
        }
        guard !address.isMulticast, !address.isZero else {
            throw invalid("\(label(key)) must be a unicast address and not all zeroes, not \(quoted(text))")
        }
        return address
    }
}
