extension QMPCommand {
    private typealias Limit = VmConfig.Throttle.Limit

    /// Limits of disks, changed while the guest runs.
    static var throttle: [QMPCommand] {
        [
            QMPCommand("block_set_io_throttle", throttleArguments) { arguments, context throws(QMPError) in
                guard let id = arguments.text("id") ?? arguments.text("device") else {
                    throw QMPError("block_set_io_throttle: argument 'id' is missing")
                }
                let limits: VmConfig.Throttle
                do throws(CommandLineError) { limits = try VmConfig.Throttle(command: "block_set_io_throttle", parameters(arguments)) } catch { throw QMPError(error) }
                do throws(MachineControlError) { try context.control.setThrottle(id, limits) } catch { throw QMPError(error) }
                return .done
            }
        ]
    }

    private static var throttleArguments: [QMPMember] {
        var members: [QMPMember] = [.optional("id", .id), .optional("device", .id)]
        members += Limit.allCases.map { .required($0.argument, .numeric(signed($0.range))) }
        for limit in Limit.allCases {
            members += [
                .optional("\(limit.argument)_max", .numeric(signed(limit.range))), .optional("\(limit.argument)_max_length", .numeric(signed(Limit.lengthRange))),
            ]
        }
        return members + [.optional("iops_size", .numeric(signed(0...VmConfig.Throttle.maximumRate)))]
    }

    private static func parameters(_ arguments: QMPArguments) -> [QMPParameter] {
        var parameters = Limit.allCases.flatMap { limit in
            [
                arguments.parameter(limit.parameter, from: limit.argument), arguments.parameter("\(limit.parameter)-max", from: "\(limit.argument)_max"),
                arguments.parameter("\(limit.parameter)-max-length", from: "\(limit.argument)_max_length"),
            ]
        }
        // Those that are absent still give messages their names.
        parameters += Limit.allCases.map { QMPParameter("\($0.parameter)-max", name: "\($0.argument)_max", nil) }
        return (parameters + [arguments.parameter(Limit.sizeParameter, from: "iops_size")]).compactMap(\.self)
    }

    /// blockdev-add's, with the names of `-drive`.
    static var throttlingArguments: [QMPMember] {
        Limit.allCases.flatMap { limit -> [QMPMember] in
            [
                .optional(limit.parameter, .numeric(signed(limit.range))), .optional("\(limit.parameter)-max", .numeric(signed(limit.range))),
                .optional("\(limit.parameter)-max-length", .numeric(signed(Limit.lengthRange))),
            ]
        } + [.optional(Limit.sizeParameter, .numeric(signed(0...VmConfig.Throttle.maximumRate)))]
    }

    static func throttlingParameters(_ arguments: QMPArguments) -> [QMPParameter?] { throttlingArguments.map { arguments.parameter($0.name) } }

    /// query-block's, as QEMU's BlockDeviceInfo.
    static var throttleMembers: [QMPMember] {
        var members = Limit.allCases.map { QMPMember.required($0.argument, .integer) }
        for limit in Limit.allCases { members += [.optional("\(limit.argument)_max", .integer), .optional("\(limit.argument)_max_length", .integer)] }
        return members + [.optional("iops_size", .integer)]
    }

    private static func signed(_ range: ClosedRange<UInt64>) -> ClosedRange<Int64> { Int64(clamping: range.lowerBound)...Int64(clamping: range.upperBound) }
}

extension QMPAnswers {
    /// The members of query-block that tell of limits; those of bursts only where there are some.
    static func add(_ throttle: VmConfig.Throttle, to object: inout JSONObject) {
        for limit in VmConfig.Throttle.Limit.allCases { object[limit.argument] = .integer(Int64(clamping: throttle[limit].average)) }
        for limit in VmConfig.Throttle.Limit.allCases where throttle[limit].burst > 0 {
            object["\(limit.argument)_max"] = .integer(Int64(clamping: throttle[limit].burst))
            object["\(limit.argument)_max_length"] = .integer(Int64(clamping: throttle[limit].burstSeconds))
        }
        if throttle.requestSize > 0 { object["iops_size"] = .integer(Int64(clamping: throttle.requestSize)) }
    }
}
