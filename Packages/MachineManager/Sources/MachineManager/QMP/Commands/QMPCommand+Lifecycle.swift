extension QMPCommand {
    /// Running, pausing and ending.
    static var lifecycle: [QMPCommand] {
        [
            QMPCommand("query-status", gives: status) { _, context in .value(QMPAnswers.status(context.control.status())) },
            QMPCommand("stop") { _, context throws(QMPError) in
                do throws(MachineControlError) { try context.control.pause() } catch { throw QMPError(error) }
                return .done
            },
            QMPCommand("cont") { _, context throws(QMPError) in
                do throws(MachineControlError) { try context.control.resume() } catch { throw QMPError(error) }
                return .done
            },
            QMPCommand("quit") { _, context in
                context.control.requestQuit()
                return .done
            },
            QMPCommand("system_powerdown") { _, context throws(QMPError) in
                do throws(MachineControlError) { try context.control.requestPowerdown() } catch { throw QMPError(error) }
                return .done
            },
            QMPCommand("system_reset") { _, context throws(QMPError) in
                do throws(MachineControlError) { try context.control.requestReset() } catch { throw QMPError(error) }
                return .done
            },
        ]
    }

    private static var status: QMPType {
        .object([
            .required("status", .choice(["prelaunch", "running", "paused", "shutdown"])), .required("running", .boolean), .required("singlestep", .boolean),
        ])
    }
}
